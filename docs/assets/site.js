/* Tables that can be sorted and filtered, and two records side by side. Everything is text: what a
   record holds is never made into markup. Without this file every table is there all the same. */
(function () {
  "use strict";
  const japanese = document.documentElement.lang === "ja" || navigator.language.startsWith("ja");
  const say = (en, ja) => (japanese ? ja : en);

  function element(name, text, attributes) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    return made;
  }

  function valueOf(row, column) {
    const text = (row.cells[column] || {}).textContent || "";
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  }

  function compareCells(one, other) {
    const numbers = typeof one === "number" && typeof other === "number";
    if (numbers) return one - other;
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return String(one).localeCompare(String(other));
  }

  /* On a phone a row is a card (extra.css): each value is named, and what is a table stays one for
     a screen reader, whatever its boxes look like. */
  function cards(table) {
    const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    table.dataset.cards = "";
    table.setAttribute("role", "table");
    for (const part of [table.tHead, ...table.tBodies]) part.setAttribute("role", "rowgroup");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, column) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        if (cell.tagName === "TD") cell.dataset.label = labels[column];
      });
    }
  }

  /* A choice for each column that the page names (data-facets), of the values that stand there. */
  function facets(table) {
    const wanted = (table.closest(".sortable").dataset.facets || "").split(",").filter(Boolean);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    return wanted.map((name) => {
      const column = heads.indexOf(name);
      const values = [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
      const select = element("select", "", { "aria-label": name });
      select.dataset.column = column;
      select.append(element("option", `${name}: ${say("any", "すべて")}`, { value: "" }));
      for (const value of [...new Set(values)].filter((each) => each && each !== "–").sort()) {
        select.append(element("option", value, { value }));
      }
      return select;
    });
  }

  function sortable(table) {
    const body = table.tBodies[0];
    cards(table);
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const button = element("button", cell.textContent, { type: "button", class: "sort" });
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => {
          const order = compareCells(valueOf(a, column), valueOf(b, column));
          return down ? -order : order;
        });
        body.append(...rows);
      });
    });
    const field = element("input", "", {
      type: "search",
      class: "filter",
      "aria-label": say("Show rows with", "含む行だけを表示"),
      placeholder: say("Show rows with …", "含む行だけを表示 …"),
    });
    const count = element("span", "", { class: "count", "aria-live": "polite" });
    const choices = facets(table);
    function filter() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = choices.filter((each) => each.value);
      let shown = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word))
          || !chosen.every((each) => row.cells[each.dataset.column].textContent === each.value);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words.length + chosen.length ? `${shown} / ${body.rows.length}` : "";
    }
    for (const each of [field, ...choices]) each.addEventListener("input", filter);
    const bar = element("p", "", { class: "table-tools" });
    bar.append(field, ...choices, count);
    if (body.rows.length > 3) table.closest(".sortable").prepend(bar);
  }

  function flat(value, place, into) {
    if (value !== null && typeof value === "object") {
      for (const [key, inner] of Object.entries(value)) {
        flat(inner, place ? `${place}.${key}` : key, into);
      }
    } else if (value !== "" && value !== null) {
      into.set(place, String(value));
    }
    return into;
  }

  function differences(one, other) {
    const [left, right] = [flat(one, "", new Map()), flat(other, "", new Map())];
    const keys = [...new Set([...left.keys(), ...right.keys()])];
    const rows = keys.filter((key) => left.get(key) !== right.get(key));
    return { rows: rows.map((key) => [key, left.get(key) || "–", right.get(key) || "–"]),
             same: keys.length - rows.length };
  }

  function choose(records, label) {
    const select = element("select", "", { "aria-label": label });
    for (const record of records) {
      const title = record.title.en || record.title.ja;
      select.append(element("option", `${record.id} ${title}`, { value: record.id }));
    }
    return select;
  }

  async function comparison(place) {
    let records;
    try {
      records = await (await fetch(`${place.dataset.records}all.json`)).json();
    } catch (error) {
      return;
    }
    if (records.length < 2) return;
    const left = choose(records, say("first record", "一つ目の記録"));
    const right = choose(records, say("second record", "二つ目の記録"));
    const asked = location.hash.slice(1).split(",");
    left.value = records.some((r) => r.id === asked[0]) ? asked[0] : records[0].id;
    right.value = records.some((r) => r.id === asked[1]) ? asked[1]
      : records.find((r) => r.id !== left.value).id;
    const out = element("div", "", { "aria-live": "polite" });
    const loaded = new Map();
    async function of(id) {
      if (!loaded.has(id)) {
        loaded.set(id, (await fetch(`${place.dataset.records}${id}.json`)).json());
      }
      return loaded.get(id);
    }
    async function show() {
      const chosen = [left.value, right.value];
      const [one, other] = await Promise.all(chosen.map(of));
      if (chosen.join() !== [left.value, right.value].join()) return; // chosen anew meanwhile
      const { rows, same } = differences(one, other);
      const table = element("table");
      const head = table.createTHead().insertRow();
      for (const text of [say("what", "項目"), left.value, right.value]) head.append(element("th", text));
      const body = table.createTBody();
      for (const row of rows) {
        const line = body.insertRow();
        row.forEach((text, column) => line.append(element(column ? "td" : "th", text)));
      }
      out.replaceChildren(
        element("p", say(`${rows.length} differ, ${same} are equal.`,
                         `${rows.length} 項目が違い、${same} 項目が同じです。`)), table);
      history.replaceState(null, "", `#${left.value},${right.value}`);
    }
    left.addEventListener("change", show);
    right.addEventListener("change", show);
    const bar = element("p", "", { class: "table-tools" });
    bar.append(left, right);
    place.replaceChildren(bar, out);
    show();
  }

  function options(select, values) {
    select.replaceChildren(...values.map((value) => element("option", value, { value })));
  }

  /* One question, two models: every answer is text, whatever a model wrote. */
  async function answers(place) {
    let sets;
    try {
      sets = await (await fetch(place.dataset.answers)).json();
    } catch (error) {
      return;
    }
    const set = element("select", "", { "aria-label": say("set", "問題集") });
    const left = element("select", "", { "aria-label": say("first model", "一つ目のモデル") });
    const right = element("select", "", { "aria-label": say("second model", "二つ目のモデル") });
    const which = element("select", "", { "aria-label": say("questions", "問題") });
    const kinds = {
      all: say("all questions", "すべての問題"), differ: say("where they differ", "違うもの"),
      left: say("only the first is right", "一つ目だけが正しい"),
      right: say("only the second is right", "二つ目だけが正しい"),
      neither: say("neither is right", "どちらも正しくない"),
    };
    for (const [value, text] of Object.entries(kinds)) which.append(element("option", text, { value }));
    options(set, Object.keys(sets));
    const out = element("div", "", { "aria-live": "polite" });
    const good = (said) => said && said[1] === "correct";
    const passes = {
      all: () => true,
      differ: (one, other) => good(one) !== good(other) || (one || [])[0] !== (other || [])[0],
      left: (one, other) => good(one) && !good(other),
      right: (one, other) => good(other) && !good(one),
      neither: (one, other) => !good(one) && !good(other),
    };
    function models() {
      const names = [...new Set(sets[set.value].rows.flatMap((row) => Object.keys(row.by)))].sort();
      options(left, names);
      options(right, names);
      right.value = names[1] || names[0];
    }
    function show() {
      const rows = sets[set.value].rows.filter(
        (row) => passes[which.value](row.by[left.value], row.by[right.value]));
      const table = element("table");
      const head = table.createTHead().insertRow();
      for (const text of [say("question", "問題"), say("right answer", "正解"), left.value,
                          right.value]) head.append(element("th", text));
      const body = table.createTBody();
      for (const row of rows) {
        const line = body.insertRow();
        line.append(element("td", row.question), element("td", row.gold));
        for (const name of [left.value, right.value]) {
          const said = row.by[name] || ["", "", 0];
          const cell = element("td", said[0]);
          cell.append(element("span", ` ${said[1]}`, { class: good(said) ? "right" : "wrong" }));
          line.append(cell);
        }
      }
      const all = sets[set.value].rows.length;
      const text = say(`${rows.length} of ${all} questions. Licence of the set: `,
                       `${all} 問のうち ${rows.length} 問。問題集のライセンス: `);
      out.replaceChildren(element("p", text + sets[set.value].licence), table);
      cards(table);
    }
    set.addEventListener("change", () => { models(); show(); });
    for (const each of [left, right, which]) each.addEventListener("change", show);
    const bar = element("p", "", { class: "table-tools" });
    bar.append(set, left, right, which);
    out.classList.add("sortable");
    place.replaceChildren(bar, out);
    models();
    show();
  }

  /* What scrolls sideways can be reached by the keyboard; what does not is no stop on its way. */
  function reachable() {
    for (const box of document.querySelectorAll("article pre > code, article table, .md-typeset__scrollwrap")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  document.querySelectorAll(".sortable table").forEach(sortable);
  document.querySelectorAll(".compare").forEach(comparison);
  document.querySelectorAll(".answers").forEach(answers);
  const article = document.querySelector("article");
  if (article) {
    reachable();
    addEventListener("resize", reachable);
    new MutationObserver(reachable).observe(article, { childList: true, subtree: true });
  }
})();
