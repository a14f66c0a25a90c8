"""What the secrets of today's providers look like: data, each with where that is written.

A shape is tried only where its ``needle`` stands in the text, so that many shapes cost little.
Patterns begin with the needle or with what bounds it, and hold no two repetitions that could share
a character: they take time in proportion to the text. The
source says where a shape or kind of key is described; lengths are lower bounds of our own, because
providers lengthen their keys.

``detect-secrets`` is not used: it makes a report on files, and this module has to cut values out of
texts and leave the rest. The two were not measured against each other. Gitleaks
(``config/gitleaks.toml``) has the widest public table; where a provider documents no shape, it is
named as the source. Sources say where to look; not every shape was compared with its page.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

GITLEAKS = "github.com/gitleaks/gitleaks, config/gitleaks.toml"
GITHUB_PARTNERS = "docs.github.com: supported secret scanning patterns"


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` is the secret, or what ends in a group ``secret`` that is."""

    provider: str
    needle: str
    pattern: str
    source: str


# A key stands by itself: "task-..." holds no "sk-...".
_ALONE = r"(?<![A-Za-z0-9])"

SHAPES = (
    # --- clouds and hosts of code -------------------------------------------------------------
    *(
        Rule("AWS", mark, rf"{_ALONE}{mark}[0-9A-Z]{{16}}(?![0-9A-Za-z])",
              "docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html")
        for mark in ("AKIA", "ASIA", "ABIA", "ACCA")
    ),
    *(
        Rule("GitHub", mark, rf"{mark}[A-Za-z0-9]{{20,}}",
              "github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats")
        for mark in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    Rule("GitHub", "github_pat_", r"github_pat_\w{20,}", GITHUB_PARTNERS),
    *(
        Rule("GitLab", mark, rf"{_ALONE}{mark}[\w.-]{{20,}}",
              "docs.gitlab.com/security/tokens/#token-prefixes")
        for mark in ("glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-",
                     "glcbt-", "glsoat-", "glffct-", "glwt-")
    ),
    Rule("Google", "AIza", r"AIza[\w-]{30,}", GITLEAKS),
    Rule("Google OAuth", "GOCSPX-", rf"{_ALONE}GOCSPX-[\w-]{{20,}}", GITHUB_PARTNERS),
    Rule("Google OAuth", "ya29.", rf"{_ALONE}ya29\.[\w-]{{20,}}", GITHUB_PARTNERS),
    Rule("Azure", "AccountKey=", r"AccountKey=(?P<secret>[A-Za-z0-9+/]{20,}={0,2})",
         "learn.microsoft.com/azure/storage/common/storage-configure-connection-string"),
    Rule("Azure", "SharedAccessKey=", r"SharedAccessKey=(?P<secret>[A-Za-z0-9+/]{20,}={0,2})",
         "learn.microsoft.com/azure/service-bus-messaging/service-bus-sas"),
    Rule("Azure", "SharedAccessSignature=", r"SharedAccessSignature=(?P<secret>[^\s;'\"]{10,})",
         "learn.microsoft.com/azure/storage/common/storage-configure-connection-string"),
    Rule("Azure AD", "Q~", r"(?<![\w~.-])[\w~.]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])", GITLEAKS),
    Rule("DigitalOcean", "_v1_", r"do[opr]_v1_[0-9a-f]{40,}", GITHUB_PARTNERS),
    Rule("Alibaba", "LTAI", rf"{_ALONE}LTAI[A-Za-z0-9]{{16,20}}(?![A-Za-z0-9])", GITLEAKS),
    Rule("Databricks", "dapi", rf"{_ALONE}dapi[0-9a-f]{{32}}(?:-\d)?(?![0-9A-Za-z])", GITLEAKS),
    Rule("HashiCorp Vault", "hvs.", rf"{_ALONE}hvs\.[\w-]{{24,}}",
         "developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes"),
    Rule("HashiCorp Vault", "hvb.", rf"{_ALONE}hvb\.[\w-]{{24,}}",
         "developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes"),
    Rule("Terraform", ".atlasv1.", r"(?<![\w-])[A-Za-z0-9]{14}\.atlasv1\.[\w-]{50,}", GITLEAKS),
    Rule("Tailscale", "tskey-", r"tskey-(?:auth|client|api|scim|webhook)-[\w-]{20,}", GITLEAKS),
    Rule("Docker", "dckr_", r"dckr_(?:pat|oat)_[\w-]{20,}", GITHUB_PARTNERS),
    Rule("Heroku", "HRKU-", rf"{_ALONE}HRKU-[\w-]{{30,}}", GITLEAKS),
    Rule("Fly.io", "FlyV1 ", r"FlyV1 fm\d_[\w+/=,-]{20,}", GITLEAKS),
    Rule("Grafana", "glsa_", r"glsa_[A-Za-z0-9]{20,}_[0-9a-f]{8}", GITLEAKS),
    Rule("Grafana", "glc_", r"glc_[A-Za-z0-9+/]{32,}={0,3}", GITLEAKS),
    Rule("Cloudflare", "v1.0-", rf"{_ALONE}v1\.0-[0-9a-f]{{24}}-[0-9a-f]{{100,}}", GITLEAKS),
    Rule("Supabase", "sbp_", r"sbp_[0-9a-f]{40}", GITHUB_PARTNERS),
    Rule("age", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", GITLEAKS),
    Rule("1Password", "ops_eyJ", r"ops_eyJ[A-Za-z0-9+/=_-]{40,}", GITLEAKS),
    # --- registries of packages ---------------------------------------------------------------
    Rule("npm", "npm_", r"npm_[A-Za-z0-9]{30,}",
         "github.blog/2021-09-23-announcing-npms-new-access-token-format"),
    Rule("PyPI", "pypi-", r"pypi-[\w-]{40,}", "pypi.org/help/#apitoken"),
    Rule("RubyGems", "rubygems_", r"rubygems_[0-9a-f]{40,}", GITLEAKS),
    # --- language models ----------------------------------------------------------------------
    Rule("Hugging Face", "hf_", r"hf_[A-Za-z0-9]{20,}",
         "huggingface.co/docs/hub/security-tokens"),
    Rule("Hugging Face", "api_org_", r"api_org_[A-Za-z0-9]{30,}", GITLEAKS),
    # OpenAI (sk-, sk-proj-, sk-svcacct-), Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek.
    Rule("OpenAI, Anthropic and kin", "sk-", rf"{_ALONE}(?<!_)sk-[\w-]{{20,}}",
          GITLEAKS + " (openai-api-key, anthropic-api-key)"),
    Rule("xAI", "xai-", rf"{_ALONE}xai-[A-Za-z0-9_]{{40,}}", GITHUB_PARTNERS),
    Rule("Groq", "gsk_", r"gsk_[A-Za-z0-9]{30,}", GITHUB_PARTNERS),
    Rule("Perplexity", "pplx-", rf"{_ALONE}pplx-[A-Za-z0-9]{{40,}}", GITLEAKS),
    Rule("Replicate", "r8_", rf"{_ALONE}r8_[A-Za-z0-9]{{30,}}", GITHUB_PARTNERS),
    Rule("NVIDIA", "nvapi-", rf"{_ALONE}nvapi-[\w-]{{40,}}", GITHUB_PARTNERS),
    Rule("Together", "tgp_v1_", r"tgp_v1_[\w-]{30,}", GITHUB_PARTNERS),
    Rule("Fireworks", "fw_", rf"{_ALONE}(?<!_)fw_[A-Za-z0-9]{{20,}}(?![\w])", GITHUB_PARTNERS),
    Rule("Cerebras", "csk-", rf"{_ALONE}csk-[A-Za-z0-9]{{40,}}", GITHUB_PARTNERS),
    Rule("LangSmith", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", GITHUB_PARTNERS),
    Rule("Pinecone", "pcsk_", r"pcsk_\w{40,}", GITHUB_PARTNERS),
    Rule("Weights & Biases", "wandb_v1_", r"wandb_v1_\w{30,}", GITHUB_PARTNERS),
    # Older keys of Weights & Biases are 40 hexadecimal digits, as a commit is: by what is around.
    Rule("Weights & Biases", "wandb",
          r"wandb[^\n]{0,60}?(?:login|key)[^\n0-9a-f]{1,20}(?P<secret>[0-9a-f]{40})(?![0-9A-Za-z])",
         "docs.wandb.ai/quickstart"),
    Rule("any with keys of hexadecimal digits", "ey",
          r"\b(?:API|api|Api|W&B|Weights & Biases)[ _-](?:API |api )?[Kk]ey[^\n0-9a-f]{1,20}"
          r"(?P<secret>[0-9a-f]{32,40})(?![0-9A-Za-z])",
         "docs.wandb.ai/quickstart"),
    Rule("netrc", "machine ",
          r"machine\s{1,9}[^\s]{1,99}\s{1,9}login\s{1,9}[^\s]{1,99}\s{1,9}password\s{1,9}"
          r"(?P<secret>[^\s]+)",
         "gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html"),
    # --- messages and mail --------------------------------------------------------------------
    Rule("Slack", "xox", r"xox[abceoprs](?:\.xox[bp])?-[\w-]{10,}",
         "api.slack.com/authentication/token-types"),
    Rule("Slack", "xapp-", rf"{_ALONE}xapp-\d-[\w-]{{10,}}",
         "api.slack.com/authentication/token-types"),
    Rule("Slack webhook", "hooks.slack.com/",
          r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[\w/+-]{8,})",
         "api.slack.com/messaging/webhooks"),
    Rule("Discord webhook", "/api/webhooks/",
          r"discord(?:app)?\.com/api(?:/v\d{1,2})?/webhooks/(?P<secret>\d{5,30}/[\w-]{8,})",
         "discord.com/developers/docs/resources/webhook"),
    Rule("Discord webhook", "/webhooks/",
          r"discord(?:app)?\.com/api/v\d{1,2}/webhooks/(?P<secret>\d{5,30}/[\w-]{8,})",
         "discord.com/developers/docs/resources/webhook"),
    Rule("Discord bot", ".", r"(?<![\w.-])[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}(?![\w-])",
         "github.com/Yelp/detect-secrets, detect_secrets/plugins/discord.py"),
    Rule("Teams webhook", ".webhook.office.com/",
          r"\.webhook\.office\.com/(?P<secret>[\w@/-]{20,})",
         "learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors"),
    Rule("Teams webhook", "outlook.office.com/webhook/",
          r"outlook\.office\.com/webhook/(?P<secret>[\w@/-]{20,})",
         "learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors"),
    Rule("Feishu webhook", "/open-apis/bot/", r"/open-apis/bot/v2/hook/(?P<secret>[\w-]{20,})",
         "open.feishu.cn/document: custom bots"),
    Rule("Telegram", ":A", r"(?<![\w:])\d{8,10}:A[\w-]{34}(?![\w-])",
         "core.telegram.org/bots/api#authorizing-your-bot"),
    Rule("Telegram", "api.telegram.org/bot",
          r"api\.telegram\.org/bot(?P<secret>\d{5,16}:[\w-]{20,})",
         "core.telegram.org/bots/api#making-requests"),
    Rule("SendGrid", "SG.", rf"{_ALONE}SG\.[\w-]{{16,}}\.[\w-]{{16,}}",
         "github.com/Yelp/detect-secrets, detect_secrets/plugins/sendgrid.py"),
    Rule("Twilio", "SK", rf"{_ALONE}(?<!_)SK[0-9a-f]{{32}}(?![0-9A-Za-z])",
         "twilio.com/docs/glossary/what-is-a-sid"),
    Rule("Mailchimp", "-us", r"(?<![0-9A-Za-z])[0-9a-f]{32}-us\d{1,2}(?![0-9A-Za-z])", GITLEAKS),
    Rule("Mailgun", "key-", r"(?<![\w-])key-[0-9a-f]{32}(?![0-9A-Za-z])", GITLEAKS),
    # --- shops, payment, work -----------------------------------------------------------------
    *(
        Rule("Stripe", mark, rf"{mark}(?:live|test|prod)_[A-Za-z0-9]{{10,}}",
              "docs.stripe.com/keys")
        for mark in ("sk_", "rk_")
    ),
    Rule("Stripe webhook", "whsec_", r"whsec_[A-Za-z0-9+/=]{20,}", "docs.stripe.com/webhooks"),
    Rule("Square", "sq0", r"sq0[a-z]{3}-[\w-]{22,}", GITLEAKS),
    Rule("Shopify", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
         "shopify.dev/docs/apps/build/authentication-authorization/access-tokens"),
    Rule("Linear", "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}", GITHUB_PARTNERS),
    Rule("Notion", "ntn_", r"ntn_[A-Za-z0-9]{40,}", GITHUB_PARTNERS),
    Rule("Notion", "secret_", r"(?<![A-Za-z0-9_])secret_[A-Za-z0-9]{43}(?![A-Za-z0-9])", GITLEAKS),
    Rule("Atlassian", "ATATT3", r"ATATT3[\w=-]{40,}", GITLEAKS),
    Rule("Figma", "figd_", r"figd_[\w-]{30,}", GITHUB_PARTNERS),
    Rule("Airtable", "pat", rf"{_ALONE}pat[A-Za-z0-9]{{14}}\.[0-9a-f]{{64}}", GITLEAKS),
    Rule("Postman", "PMAK-", rf"{_ALONE}PMAK-[0-9a-f]{{24}}-[0-9a-f]{{34}}", GITLEAKS),
    Rule("Sentry", "sntry", r"sntry[su]_[\w+/=-]{40,}", GITLEAKS),
    Rule("New Relic", "NRAK-", rf"{_ALONE}NRAK-[0-9A-Z]{{27}}", GITLEAKS),
    Rule("Doppler", "dp.", rf"{_ALONE}dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{{40,}}", GITLEAKS),
    # --- keys in blocks -----------------------------------------------------------------------
    Rule("PEM", "PRIVATE KEY",
          r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
          r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
         "rfc-editor.org/rfc/rfc7468"),
)  # fmt: skip


@functools.cache
def compiled(shape: Rule) -> re.Pattern[str]:
    """The pattern, made when a text first holds the needle: most programs need none."""
    return re.compile(shape.pattern, re.ASCII)  # a key may stand between Japanese words
