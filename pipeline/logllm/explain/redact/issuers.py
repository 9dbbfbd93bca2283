"""Secrets that their issuers gave a form: known wherever they stand.

The forms are the issuers' published ones; the kinds follow gitleaks', trufflehog's and GitHub secret scanning's lists.
"""

from __future__ import annotations

import base64
import binascii

from logllm.explain.redact.rule import RuleSet, rule

__all__ = ["ISSUED"]


def _has_digit(text: str) -> bool:
    return any(char.isdigit() for char in text)


def _snowflake(text: str) -> bool:
    """The first part of a Discord token is the account's number in base64."""
    head = text.partition(".")[0]
    try:
        return base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_").isdigit()
    except (binascii.Error, ValueError):
        return False


ISSUED = RuleSet(
    (
        rule("age", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
        rule("airtable", "pat", r"^pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
        rule("alibaba cloud", "LTAI", r"^LTAI[A-Za-z0-9]{17,21}(?![A-Za-z0-9])", _has_digit),
        rule("anthropic, openai and kin", "sk-", r"^sk-(?:[a-z0-9]{2,10}-)?[A-Za-z0-9_-]{20,}+", _has_digit),
        rule("atlassian", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{50,}+"),
        rule("aws key id", "AKIA ASIA ABIA ACCA", r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])"),
        rule("azure ad secret", "7Q~ 8Q~", r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
        rule("azure devops", "AZDO", r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}"),
        rule("bitbucket", "ATBB ATCTT3", r"^(?:ATBB[A-Za-z0-9]{32}|ATCTT3[A-Za-z0-9_=-]{50,}+)"),
        rule("brevo", "xkeysib-", r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
        rule("buildkite", "bkua_ bkct_ bkaj_ bkar_ bkat_", r"^bk(?:ua|ct|aj|ar|at)_[A-Za-z0-9]{30,}+"),
        rule("circleci", "CCIPAT_ CCIPRJ_", r"CCIP(?:AT|RJ)_[A-Za-z0-9]{20,24}_[a-f0-9]{40}"),
        rule("cloudflare origin ca", "v1.0-", r"^v1\.0-[a-f0-9]{24}-[a-f0-9]{146}"),
        rule("crates.io", "cio", r"^cio[A-Za-z0-9]{32}(?![A-Za-z0-9])", _has_digit),
        rule("databricks", "dapi", r"^dapi[a-f0-9]{32}(?:-\d)?"),
        rule("digitalocean", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
        rule(
            "discord bot",
            ".",
            r"[MNO](?<![A-Za-z0-9_-].)[A-Za-z0-9_-]{21,27}+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
            _snowflake,
        ),
        rule("discord webhook", "/webhooks/", r"discord(?:app)?\.com/api/webhooks/(\d{10,22}/[A-Za-z0-9_-]{20,}+)"),
        rule("docker", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}+"),
        rule("doppler", "dp.", r"(?<![a-z])dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{30,}+"),
        rule("dropbox", "sl.", r"^sl\.(?:u\.)?[A-Za-z0-9_-]{100,}+"),
        rule("dynatrace", "dt0c01.", r"dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
        rule("facebook", "EAA", r"^EAA[A-Z][A-Za-z0-9]{80,}+"),
        rule("figma", "figd_ figo_", r"^fig[do]_[A-Za-z0-9_-]{30,}+"),
        rule("firebase", "APA91b", r"(?<![\w-])[\w-]{11,30}:APA91b[\w-]{100,}+"),
        rule("fly.io", "fo1_ fm1_ fm2_", r"^(?:fo1_[\w-]{40,}+|fm[12][ar]?_[A-Za-z0-9+/=_-]{80,}+)"),
        rule(
            "github",
            "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
            r"(?:gh[pousr]_[A-Za-z0-9]{30,}+|github_pat_[A-Za-z0-9_]{22,}+)",
        ),
        rule(
            "gitlab",
            "glpat- gldt- glrt- glcbt- glptt- glsoat- glft- glimt- glagent- gloas- GR1348941",
            r"(?:gl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent|oas)-[0-9A-Za-z_.-]{20,}+|GR1348941[0-9A-Za-z_-]{20,}+)",
        ),
        rule("google api key", "AIza", r"AIza[0-9A-Za-z_-]{35}"),
        rule(
            "google oauth",
            "ya29. GOCSPX- 1//0",
            r"(?:ya29\.[0-9A-Za-z_-]{20,}+|GOCSPX-[0-9A-Za-z_-]{20,}+|(?<![\w/])1//0[0-9A-Za-z_-]{40,}+)",
        ),
        rule("grafana", "glsa_ glc_ eyJrIjoi", r"(?:gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}+|^eyJrIjoi[A-Za-z0-9+/=]{40,}+)"),
        rule("groq", "gsk_", r"^gsk_[A-Za-z0-9]{50,}+"),
        rule("heroku", "HRKU-", r"HRKU-[A-Za-z0-9_-]{30,}+"),
        rule("hubspot", "pat-na pat-eu", r"^pat-(?:na|eu)\d-[a-f0-9]{8}-[a-f0-9-]{27}"),
        rule("hugging face", "hf_ api_org_", r"^(?:hf|api_org)_[A-Za-z0-9]{30,}+"),
        rule("jwt", "eyJ", r"^eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){0,3}"),
        rule("langsmith", "lsv2_", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}"),
        rule("linear", "lin_api_ lin_oauth_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}+"),
        rule("mailchimp", "-us", r"(?<![0-9a-f])[0-9a-f]{32}-us\d{1,2}(?!\d)"),
        rule("mailgun", "key-", r"(?<![A-Za-z0-9-])key-[0-9a-f]{32}(?![A-Za-z0-9])"),
        rule("netlify", "nfp_", r"^nfp_[A-Za-z0-9]{30,}+"),
        rule("new relic", "NRAK- NRII- NRJS- NRAL", r"(?:NR(?:AK|II|JS)-[A-Za-z0-9_-]{19,}+|^[0-9a-f]{36}NRAL)"),
        rule("notion", "ntn_ secret_", r"^(?:ntn_[A-Za-z0-9]{40,}+|secret_[A-Za-z0-9]{43})(?![A-Za-z0-9])"),
        rule("npm", "npm_", r"npm_[A-Za-z0-9]{36}"),
        rule("nuget", "oy2", r"^oy2[a-z0-9]{43}(?![A-Za-z0-9])"),
        rule("nvidia", "nvapi-", r"nvapi-[A-Za-z0-9_-]{60,}+"),
        rule("1password", "ops_eyJ", r"ops_eyJ[A-Za-z0-9_=-]{100,}+"),
        rule("perplexity", "pplx-", r"^pplx-[A-Za-z0-9]{40,}+"),
        rule("planetscale", "pscale_", r"pscale_(?:pw|tkn|oauth)_[A-Za-z0-9_=.-]{30,}+"),
        rule("postman", "PMAK-", r"PMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}"),
        rule("pulumi", "pul-", r"(?<![a-z])pul-[a-f0-9]{40}"),
        rule("pypi", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{20,}+"),
        rule("replicate", "r8_", r"^r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])"),
        rule("rubygems", "rubygems_", r"rubygems_[a-f0-9]{48}"),
        rule("sendgrid", "SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
        rule("sentry", "sntryu_ sntrys_", r"(?:sntryu_[a-f0-9]{64}|sntrys_[A-Za-z0-9+/=_-]{60,}+)"),
        rule("shopify", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
        rule("slack", "xox xapp-", r"(?:xox[abceoprsd]|xapp)[-.][0-9A-Za-z.-]{10,}+"),
        rule(
            "slack webhook",
            "hooks.slack.com",
            r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/+-]{20,}+)",
        ),
        rule("snyk", "snyk_uat. snyk_sat.", r"snyk_[us]at\.[A-Za-z0-9._-]{30,}+"),
        rule("sonar", "squ_ sqp_ sqa_", r"^sq[upa]_[a-f0-9]{40}"),
        rule("square", "sq0 EAAA", r"(?:sq0[a-z]{3}-[0-9A-Za-z_-]{22,43}|^EAAA[A-Za-z0-9_-]{60})"),
        rule(
            "stripe",
            "_live_ _test_ whsec_",
            r"(?:(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{10,}+|whsec_[0-9A-Za-z+/=]{20,}+)",
        ),
        rule("supabase", "sbp_ sb_secret_", r"^(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,}+)"),
        rule("tailscale", "tskey-", r"tskey-[a-z]{2,12}-[A-Za-z0-9_-]{20,}+"),
        rule("teams webhook", "webhook.office.com", r"webhook\.office\.com/(webhookb2/[A-Za-z0-9@/-]{30,}+)"),
        rule("telegram", ":AA", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{32,33}(?![A-Za-z0-9_-])"),
        rule("terraform", ".atlasv1.", r"(?<![A-Za-z0-9])[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}"),
        rule("twilio", "SK AC", r"^(?:SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])"),
        rule("twitch", "oauth:", r"^oauth:[a-z0-9]{30}(?![A-Za-z0-9])"),
        rule("vault", "hvs. hvb. hvr.", r"^hv[sbr]\.[A-Za-z0-9_-]{20,}+"),
        rule("xai", "xai-", r"^xai-[A-Za-z0-9]{60,}+"),
    )
)
"""Tokens of one issuer each."""
