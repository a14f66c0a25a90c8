"""What acme offers. Nothing heavy is imported here."""

from yoriai import Entry, hookimpl


def _entry(name, target, requires=()):
    summary = f"Acme's {name}."
    return [
        Entry(name=name, target=f"acme.{target}", summary=summary, requires=requires,
              since="1.0", licence="CC0-1.0")
    ]  # fmt: skip


@hookimpl
def yoriai_sources():
    return _entry("sayings", "text:Sayings")


@hookimpl
def yoriai_filters():
    return _entry("no-tables", "text:NoTables")


@hookimpl
def yoriai_engines():
    return _entry("threads", "text:Threads")


@hookimpl
def yoriai_instructions():
    return _entry("drill", "training:Drill")


@hookimpl
def yoriai_methods():
    return _entry("norms", "training:Norms")


@hookimpl
def yoriai_models():
    return _entry("tiny", "training:Tiny")


@hookimpl
def yoriai_strategies():
    # The second is for machines without a GPU, and takes its mended DeepSpeed from yoriai-train.
    return _entry("copies", "training:Copies", ("torch", "lightning")) + _entry(
        "zero", "training:Zero", ("deepspeed", "yoriai-train")
    )


@hookimpl
def yoriai_tasks():
    return _entry("sums", "scoring:Sums") + _entry("larger", "scoring:Larger")


@hookimpl
def yoriai_probes():
    return _entry("length", "scoring:Length")


@hookimpl
def yoriai_backends():
    return _entry("reckoner", "scoring:Reckoner")


@hookimpl
def yoriai_scorers():
    return _entry("first-form", "scoring:FirstForm")


@hookimpl
def yoriai_steps():
    return _entry("note", "notes:Note")


@hookimpl
def yoriai_commands():
    return _entry("greet", "notes:greet")


@hookimpl
def yoriai_run_started(run):
    from acme.notes import describe_machine

    return describe_machine(run)


@hookimpl
def yoriai_sections(artifact):
    from acme.notes import describe

    return describe(artifact)


@hookimpl
def yoriai_hops(point):
    from acme.notes import hops

    return hops(point)
