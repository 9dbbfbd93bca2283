"""What secrets look like, kind by kind, as their issuers describe them; each is made up from a seeded source of chance.

Prefixes are put together at run time so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import base64
import json
import string
import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["KEYED", "PERSONAL", "TOKENS", "WHOLE", "Made", "chars", "words_of_a_person"]

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = LOWER + UPPER + DIGITS
HEX = "0123456789abcdef"
BASE32 = UPPER + "234567"
URL64 = ALNUM + "_-"
BASE64 = ALNUM + "+/"


class Made(NamedTuple):
    """A secret as it is written, and the parts of it nobody may see."""

    text: str
    parts: tuple[str, ...]


def chars(source: Random, alphabet: str, count: int) -> str:
    """`count` characters of an alphabet, by chance."""
    return "".join(source.choices(alphabet, k=count))


def _like(form: str) -> Callable[[Random], Made]:
    """A form such as `ghp_{a36}`: a letter for the alphabet and how many. What is in braces is secret."""
    alphabets = {"a": ALNUM, "h": HEX, "H": HEX.upper(), "d": DIGITS, "u": URL64, "b": BASE64, "B": BASE32}
    alphabets |= {"l": LOWER + DIGITS, "U": UPPER + DIGITS}

    def make(source: Random) -> Made:
        pieces: list[str] = []
        parts: list[str] = []
        for place, piece in enumerate(form.replace("}", "{").split("{")):
            if place % 2:
                parts.append(chars(source, alphabets[piece[0]], int(piece[1:])))
                pieces.append(parts[-1])
            else:
                pieces.append(piece)
        return Made("".join(pieces), tuple(part for part in parts if len(part) >= 6))

    return make


def _either(*forms: str) -> Callable[[Random], Made]:
    makes = [_like(form) for form in forms]
    return lambda source: source.choice(makes)(source)


def _json64(**claims: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).decode().rstrip("=")


def _jwt(source: Random) -> Made:
    head = _json64(alg=source.choice(["HS256", "RS256", "ES256"]), typ="JWT")
    body = _json64(sub=chars(source, DIGITS, 10), iat=source.randrange(10**9, 2 * 10**9))
    sign = chars(source, URL64, source.choice([43, 86]))
    return Made(f"{head}.{body}.{sign}", (body, sign))


def _service_token(source: Random) -> Made:
    head = _json64(alg="RS256", kid=chars(source, URL64, 43))
    claims = _json64(iss="kubernetes/serviceaccount", sub=f"system:serviceaccount:{chars(source, LOWER, 8)}:default")
    sign = chars(source, URL64, 342)
    return Made(f"{head}.{claims}.{sign}", (sign,))


def _discord(source: Random) -> Made:
    account = base64.b64encode(chars(source, "123456789", source.choice([18, 19])).encode()).decode().rstrip("=")
    sign = chars(source, URL64, source.choice([27, 38]))
    return Made(f"{account}.{chars(source, URL64, 6)}.{sign}", (account, sign))


# Of issuers that gave their secrets a form: these are known anywhere in a line.
TOKENS: dict[str, Callable[[Random], Made]] = {
    "aws key id": _either("AK" + "IA{B16}", "AS" + "IA{B16}"),
    "google api key": _like("AI" + "za{u35}"),
    "google oauth": _either("ya" + "29.{u120}", "GOC" + "SPX-{u28}"),
    "azure ad secret": _either("{a3}8Q" + "~{u34}", "{a3}7Q" + "~{u31}"),
    "azure devops": _like("{a76}AZ" + "DO{a4}"),
    "github": _either("gh" + "p_{a36}", "gh" + "o_{a36}", "gh" + "s_{a36}", "github" + "_pat_{a22}_{a59}"),
    "gitlab": _either(
        "gl" + "pat-{u20}", "gl" + "rt-{u20}", "gl" + "ptt-{h40}", "GR13" + "48941{u20}", "gl" + "agent-{u50}"
    ),
    "bitbucket": _either("AT" + "BB{a32}", "AT" + "CTT3xFfGN0{u180}={H8}"),
    "slack": _either(
        "xo" + "xb-{d12}-{d13}-{a24}", "xo" + "xp-{d12}-{d12}-{d13}-{h32}", "xa" + "pp-1-A{U10}-{d13}-{h64}"
    ),
    "slack webhook": _like("https://hooks.slack.com/services/T{U10}/B{U10}/{a24}"),
    "discord webhook": _like("https://discord.com/api/webhooks/{d18}/{u68}"),
    "discord bot": _discord,
    "stripe": _either("sk" + "_live_{a24}", "rk" + "_live_{a99}", "sk" + "_test_{a24}", "wh" + "sec_{a32}"),
    "openai": _either("sk" + "-{a20}T3BlbkFJ{a20}", "sk" + "-proj-{u74}T3BlbkFJ{u74}"),
    "anthropic": _like("sk" + "-ant-api03-{u93}AA"),
    "hugging face": _like("hf" + "_{a34}"),
    "npm": _like("np" + "m_{a36}"),
    "pypi": _like("py" + "pi-AgEIcHlwaS5vcmc{u160}"),
    "rubygems": _like("ruby" + "gems_{h48}"),
    "nuget": _like("oy" + "2{l43}"),
    "crates.io": _like("ci" + "o{a32}"),
    "sendgrid": _like("S" + "G.{u22}.{u43}"),
    "twilio": _like("S" + "K{h32}"),
    "mailgun": _like("ke" + "y-{h32}"),
    "mailchimp": _either("{h32}-us" + "12", "{h32}-us" + "7"),
    "telegram": _like("{d9}:A" + "A{u33}"),
    "digitalocean": _either("dop" + "_v1_{h64}", "doo" + "_v1_{h64}"),
    "shopify": _either("shp" + "at_{h32}", "shp" + "ss_{h32}"),
    "vault": _either("hv" + "s.{u95}", "hv" + "b.{u140}"),
    "databricks": _like("da" + "pi{h32}"),
    "grafana": _either("gl" + "sa_{a32}_{h8}", "gl" + "c_eyJvIjoi{a60}"),
    "new relic": _either("NR" + "AK-{U27}", "NR" + "JS-{h19}", "{h36}NR" + "AL"),
    "docker": _like("dc" + "kr_pat_{u27}"),
    "linear": _like("li" + "n_api_{a40}"),
    "atlassian": _like("AT" + "ATT3xFfGF0{u180}={H8}"),
    "doppler": _like("d" + "p.pt.{a43}"),
    "square": _either("sq0" + "atp-{u22}", "sq0" + "csp-{u43}"),
    "facebook": _like("EA" + "AC{a180}"),
    "age": _like("AGE-" + "SECRET-KEY-1{U58}"),
    "heroku": _either("HR" + "KU-{h8}-{h4}-{h4}-{h4}-{h12}", "HR" + "KU-AA{u58}"),
    "pulumi": _like("pu" + "l-{h40}"),
    "planetscale": _like("ps" + "cale_tkn_{u43}"),
    "postman": _like("PM" + "AK-{h24}-{h34}"),
    "cloudflare origin ca": _like("v1" + ".0-{h24}-{h146}"),
    "sentry token": _either("sn" + "tryu_{h64}", "sn" + "trys_eyJpYXQiOjE3{a60}_{a43}"),
    "notion": _either("nt" + "n_{d11}{a35}", "secr" + "et_{a43}"),
    "figma": _like("fi" + "gd_{u40}"),
    "airtable": _like("pa" + "t{a14}.{h64}"),
    "asana": _either("1/12{d14}:{h32}", "2/12{d14}/12{d14}:{h32}"),
    "dropbox": _like("s" + "l.{u138}"),
    "twitch": _like("oau" + "th:{l30}"),
    "firebase": _like("AAAA{u7}:APA" + "91b{u134}"),
    "supabase": _either("sb" + "p_{h40}", "sb" + "_secret_{u22}_{a8}"),
    "netlify": _like("nf" + "p_{a40}"),
    "fly.io": _either("fo" + "1_{u43}", "fm" + "2_lJPECAAAAAAA{b180}"),
    "terraform": _like("{a14}.at" + "lasv1.{a67}"),
    "circleci": _like("CCI" + "PAT_{a22}_{h40}"),
    "buildkite": _either("bk" + "ua_{h40}", "bk" + "ct_{a40}"),
    "sonar": _either("sq" + "u_{h40}", "sq" + "p_{h40}"),
    "jwt": _jwt,
    "kubernetes token": _service_token,
}


def _dni(source: Random) -> str:
    number = source.randrange(10_000_000, 100_000_000)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _check(form: str, digits: Callable[[Random], str]) -> Callable[[Random], Made]:
    def make(source: Random) -> Made:
        text = digits(source)
        return Made(form.format(text), (text,))

    return make


# Without a form of their own: what stands before them tells. Each with the names its issuer gives it.
KEYED: dict[str, tuple[tuple[str, ...], Callable[[Random], Made]]] = {
    "aws secret key": (("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey"), _like("{b40}")),
    "aws session token": (("aws_session_token", "AWS_SESSION_TOKEN", "x-amz-security-token"), _like("{b200}=")),
    "azure storage key": (("AccountKey", "AZURE_STORAGE_KEY", "azure_storage_account_key"), _like("{b86}==")),
    "azure devops pat": (("AZURE_DEVOPS_EXT_PAT", "azure_devops_token"), _like("{l52}")),
    "cloudflare": (("CLOUDFLARE_API_TOKEN", "CF_API_KEY", "X-Auth-Key"), _either("{u40}", "{h37}")),
    "datadog": (("DD_API_KEY", "DD-API-KEY", "DD-APPLICATION-KEY", "datadog_app_key"), _either("{h32}", "{h40}")),
    "okta": (("OKTA_API_TOKEN", "okta_token", "oktaApiToken"), _like("00{u40}")),
    "vercel": (("VERCEL_TOKEN", "vercel_access_token"), _like("{a24}")),
    "snyk": (("SNYK_TOKEN", "snyk_api_token"), _like("{h8}-{h4}-4{h3}-a{h3}-{h12}")),
    "twilio auth": (("TWILIO_AUTH_TOKEN", "auth_token", "authToken"), _like("{h32}")),
    "oauth client": (("client_secret", "clientSecret", "CLIENT_SECRET"), _either("{u40}", "{a32}")),
    "refresh token": (("refresh_token", "refreshToken"), _either("1//0{u100}", "{a64}")),
    "api key": (("api_key", "apiKey", "X-Api-Key", "api-key", "apikey"), _either("{a32}", "{h40}", "{u24}")),
    "access token": (("access_token", "accessToken", "X-Auth-Token", "PRIVATE-TOKEN"), _either("{u64}", "{h40}")),
    "session": (("session_id", "JSESSIONID", "PHPSESSID", "sessionToken"), _either("{H32}", "{l26}")),
    "signing key": (
        ("signing_key", "SECRET_KEY", "secretKey", "encryption_key", "MASTER_KEY"),
        _either("{u50}", "{h64}"),
    ),
    "password hash": (("password_hash", "passwordHash"), _either("{h64}", "{b43}=")),
    "passport": (("passport_number", "passport_no", "passportNumber"), _either("{d9}", "C{U8}")),
    "tax id": (("ssn", "social_security_number", "national_id"), _like("{d9}")),
    "spanish dni": (("dni", "nif"), _check("{}", _dni)),
    "pesel, bsn, steuer-id": (("pesel", "bsn", "steuer_id", "tax_id"), _either("{d11}", "{d9}")),
}


def _password(source: Random) -> Made:
    """What people and their managers choose."""
    kind = source.randrange(4)
    if kind == 0:
        text = words_of_a_person(source) + source.choice("-_.!") + chars(source, DIGITS, 4)
    elif kind == 1:
        text = chars(source, ALNUM, source.randrange(8, 24))
    elif kind == 2:
        text = chars(source, ALNUM + "!@#%^*-_+.?~", source.randrange(10, 20))
        text = "K" + text + "z"
    else:
        text = words_of_a_person(source) + chars(source, DIGITS, 2)
    return Made(text, (text,))


def words_of_a_person(source: Random) -> str:
    """Two words put together."""
    words = [
        "horse",
        "battery",
        "staple",
        "purple",
        "monkey",
        "summer",
        "winter",
        "dragon",
        "coffee",
        "garden",
        "yellow",
        "thunder",
        "marble",
    ]
    return source.choice(words).capitalize() + source.choice(words)


KEYED["password"] = (
    ("password", "passwd", "DB_PASSWORD", "db.password", "dbPassword", "PGPASSWORD", "pwd", "passphrase", "user_pass"),
    _password,
)


def _pem(label: str, size: int) -> Callable[[Random], Made]:
    def make(source: Random) -> Made:
        lines = textwrap.wrap(chars(source, BASE64, size) + "==", 64)
        return Made("\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"]), tuple(lines[:-1]))

    return make


def _shadow(source: Random) -> Made:
    salt, name = chars(source, ALNUM + "./", 16), source.choice(["root", "bob", "deploy"])
    long = chars(source, ALNUM + "./", 86)
    text, part = source.choice(
        [
            (f"{name}:$6${salt}${long}:19834:0:99999:7:::", long),
            (f"{name}:$y$j9T${salt}${long[:43]}:19834:0:99999:7:::", long[:43]),
            (f"{name}:$apr1${salt[:8]}${long[:22]}", long[:22]),
            (f"{name}:$2y$10${long[:53]}", long[:53]),
            (
                f"hash=$argon2id$v=19$m=65536,t=3,p=4${chars(source, ALNUM, 22)}${long[:43].replace('.', '+')}",
                long[:43].replace(".", "+"),
            ),
            (f"userPassword: {{SSHA}}{long[:32].replace('.', 'a')}", long[:32].replace(".", "a")),
            (f"pbkdf2_sha256$260000${salt.replace('.', 'a').replace('/', 'b')}${long[:43].replace('.', '+')}=", ""),
        ]
    )
    return Made(text, (part,) if part else (text.split("$")[3],))


def _service_account(source: Random) -> Made:
    key = _pem("PRIVATE KEY", 1500)(source)
    account = {
        "type": "service_account",
        "project_id": "shop-prod",
        "private_key_id": chars(source, HEX, 40),
        "private_key": key.text + "\n",
        "client_email": "svc@shop-prod.iam.gserviceaccount.com",
    }
    return Made(json.dumps(account), key.parts)


def _kubeconfig(source: Random) -> Made:
    key = base64.b64encode(_pem("RSA PRIVATE KEY", 400)(source).text.encode()).decode()
    return Made(f"users:\n- name: admin\n  user:\n    client-key-data: {key}\n", (key,))


def _url(form: str) -> Callable[[Random], Made]:
    def make(source: Random) -> Made:
        word = chars(source, ALNUM + "-_.!~", source.randrange(9, 30))
        return Made(form.format(word), (word,))

    return make


def _connection(source: Random) -> Made:
    word = chars(source, ALNUM + "!#_-", source.randrange(10, 24))
    form = source.choice(
        [
            "Server=tcp:db1.example.com,1433;Database=shop;User ID=app;Password={};Encrypt=true;",
            "Driver={{PostgreSQL}};Server=10.0.0.5;Port=5432;Uid=app;Pwd={};",
            "DRIVER={{ODBC Driver 17}};UID=sa;PWD={}",
            "host=db1 port=5432 dbname=shop user=app password={} sslmode=require",
        ]
    )
    return Made(form.format(word), (word,))


def _azure_connection(source: Random) -> Made:
    key = chars(source, BASE64, 86)
    return Made(
        f"DefaultEndpointsProtocol=https;AccountName=shopprod;AccountKey={key}==;EndpointSuffix=core.windows.net",
        (key,),
    )


def _service_bus(source: Random) -> Made:
    key = chars(source, BASE64, 43)
    return Made(f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={key}=", (key,))


def _oracle(source: Random) -> Made:
    word = chars(source, ALNUM, 12)
    return Made(f"jdbc:oracle:thin:scott/{word}@//db1.example.com:1521/ORCL", (word,))


def _aws_signed(source: Random) -> Made:
    sign = chars(source, HEX, 64)
    return Made(
        "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z&X-Amz-Expires=300"
        f"&X-Amz-SignedHeaders=host&X-Amz-Signature={sign}",
        (sign,),
    )


def _sas(source: Random) -> Made:
    sign = chars(source, ALNUM, 40)
    return Made(f"https://a.blob.core.windows.net/c/f?sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig={sign}%3D", (sign,))


def _sentry(source: Random) -> Made:
    key = chars(source, HEX, 32)
    return Made(f"https://{key}@o{chars(source, DIGITS, 6)}.ingest.sentry.io/{chars(source, DIGITS, 7)}", (key,))


# Known by the whole of what stands there, over lines where it has some.
WHOLE: dict[str, Callable[[Random], Made]] = {
    "rsa key": _pem("RSA PRIVATE KEY", 1590),
    "ssh key": _pem("OPENSSH PRIVATE KEY", 400),
    "ec key": _pem("EC PRIVATE KEY", 220),
    "pkcs8 key": _pem("ENCRYPTED PRIVATE KEY", 900),
    "pgp key": _pem("PGP PRIVATE KEY BLOCK", 900),
    "gcp service account": _service_account,
    "kubeconfig": _kubeconfig,
    "shadow and htpasswd": _shadow,
    "postgres url": _url("postgres://app:{}@db1.example.com:5432/shop"),
    "redis url": _url("redis://:{}@cache-1.example.com:6379/0"),
    "mongo url": _url("mongodb+srv://app:{}@cluster0.ab1cd.mongodb.net/shop"),
    "amqp url": _url("amqps://app:{}@mq.example.com/vhost"),
    "url user": _url("https://deploy:{}@git.example.com/shop.git"),
    "jdbc": _url("jdbc:postgresql://db1.example.com/shop?user=app&password={}"),
    "jdbc oracle": _oracle,
    "odbc": _connection,
    "azure storage connection": _azure_connection,
    "azure service bus": _service_bus,
    "aws signed url": _aws_signed,
    "azure sas": _sas,
    "sentry dsn": _sentry,
}


def _luhn(number: str) -> str:
    total = sum(int(d) if place % 2 else sum(divmod(2 * int(d), 10)) for place, d in enumerate(reversed(number)))
    return number + str(-total % 10)


def _card(source: Random) -> str:
    prefix, size = source.choice(
        [("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("3528", 16), ("36", 14)]
    )
    number = _luhn(prefix + chars(source, DIGITS, size - 1 - len(prefix)))
    if size == 16 and source.random() < 0.5:
        return source.choice(" -").join(number[at : at + 4] for at in range(0, 16, 4))
    return number


def _iban(source: Random) -> str:
    land, rest = source.choice(
        [
            ("DE", chars(source, DIGITS, 18)),
            ("GB", "NWBK" + chars(source, DIGITS, 14)),
            ("FR", chars(source, DIGITS, 23)),
            ("NL", "ABNA" + chars(source, DIGITS, 10)),
            ("ES", chars(source, DIGITS, 20)),
        ]
    )
    check = 98 - int("".join(str(int(char, 36)) for char in rest + land + "00")) % 97
    whole = f"{land}{check:02}{rest}"
    return " ".join(textwrap.wrap(whole, 4)) if source.random() < 0.5 else whole


def _ssn(source: Random) -> str:
    area = source.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03}-{source.randrange(1, 100):02}-{source.randrange(1, 10000):04}"


def _cpf(source: Random) -> str:
    digits = [int(each) for each in chars(source, DIGITS, 9)]
    for _ in range(2):
        rest = sum(d * w for d, w in zip(digits, range(len(digits) + 1, 1, -1), strict=True)) * 10 % 11
        digits.append(rest % 10)
    text = "".join(map(str, digits))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def _nino(source: Random) -> str:
    pair = source.choice(["AB", "CE", "JK", "PW", "SX"])
    digits = " ".join(chars(source, DIGITS, 2) for _ in range(3))
    return f"{pair} {digits} {source.choice('ABCD')}"


def _hetu(source: Random) -> str:
    day = f"{source.randrange(1, 29):02}{source.randrange(1, 13):02}{source.randrange(40, 99):02}"
    own = f"{source.randrange(2, 900):03}"
    return f"{day}-{own}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(day + own) % 31]}"


def _nir(source: Random) -> str:
    digits = f"{source.choice('12')}{source.randrange(100):02}{source.randrange(1, 13):02}{source.randrange(1, 96):02}"
    digits += f"{source.randrange(1000):03}{source.randrange(1000):03}"
    digits += f"{97 - int(digits) % 97:02}"
    return " ".join((digits[0], digits[1:3], digits[3:5], digits[5:7], digits[7:10], digits[10:13], digits[13:]))


def _chinese(source: Random) -> str:
    born = f"{source.randrange(1950, 2010)}{source.randrange(1, 13):02}{source.randrange(1, 29):02}"
    base = f"110105{born}{chars(source, DIGITS, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return base + "10X98765432"[sum(int(d) * w for d, w in zip(base, weights, strict=True)) % 11]


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _codice(source: Random) -> str:
    text = chars(source, UPPER, 6) + chars(source, DIGITS, 2) + source.choice("ABCDEHLMPRST")
    text += f"{source.randrange(1, 29):02}" + source.choice(UPPER) + chars(source, DIGITS, 3)
    odd = dict(
        zip(
            DIGITS + UPPER,
            (*_ODD[:10], *_ODD),
            strict=True,
        )
    )
    total = sum(odd[c] if place % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for place, c in enumerate(text))
    return text + UPPER[total % 26]


def _phone(source: Random) -> str:
    form = source.choice(
        [
            "+1##########",
            "+1 (###) ###-####",
            "+44 20 #### ####",
            "+49 151 ########",
            "+33 6 ## ## ## ##",
            "+91-#####-#####",
        ]
    )
    return "".join(source.choice("23456789") if char == "#" else char for char in form)


# Of people rather than programs; a number is known by its check digits or by the way it is written.
PERSONAL: dict[str, Callable[[Random], Made]] = {
    "card": _check("{}", _card),
    "iban": _check("{}", _iban),
    "us ssn": _check("{}", _ssn),
    "brazilian cpf": _check("{}", _cpf),
    "british nino": _check("{}", _nino),
    "finnish hetu": _check("{}", _hetu),
    "chinese id": _check("{}", _chinese),
    "italian codice fiscale": _check("{}", _codice),
    "french nir": _check("{}", _nir),
    "phone": _check("{}", _phone),
}
