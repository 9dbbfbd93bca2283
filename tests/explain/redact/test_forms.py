"""One secret in the ways people and programs write it, and words that stay though a name of a secret is before them."""

from __future__ import annotations

import base64

import pytest

from logllm.explain.redact.keyed import is_secret_name
from logllm.explain.redact.redactor import Redactor
from logllm.explain.redact.secrets import kinds

SECRET = "Tr0ub4dor" + "-xQ9"
WRITTEN = """\
//registry.npmjs.org/:_authToken=@
machine api.example.com login bob password @
{"auths":{"registry.example.com":{"identitytoken":"@"}}}
New-User -Name bob -Password "@" -Force
ConvertTo-SecureString "@" -AsPlainText -Force
redis: AUTH @
requirepass @
masterauth @
ftp> PASS @
<input type="hidden" name="password" value="@">
<password type="plain">@</password>
<wsse:Password Type="...#PasswordText">@</wsse:Password>
<password><![CDATA[@]]></password>
&lt;password&gt;@&lt;/password&gt;
ENV DB_PASSWORD @
set DB_PASSWORD=@
aws configure set aws_secret_access_key @
$env:DB_PASSWORD="@"
java -Dspring.datasource.password=@ -jar app.jar
Config { user: "bob", password: Some("@"), port: 5432 }
[password] => @
["password"]=> string(13) "@"
:password=>"@"
psk="@"
{"password":"@
{"user":{"name":"bob","password":"@"
password="@
Password: @
user=bob passwd=@!
login failed (user=bob, password=@)
login failed for user 'bob' with password '@'
Enter password for bob: @
The secret key is @.
{"passwords":["@"]}
{"password":{"value":"@"}}
X-Api-Key: [@]
{"X-Api-Key":["@"]}
http.Header{"X-Api-Key":[]string{"@"}}
map[X-Api-Key:[@] Accept:[*/*]]
password%3D@%26user%3Dbob
user%5Bpassword%5D=@
user[password]=@&x=1
Content-Disposition: form-data; name="password"\\r\\n\\r\\n@\\r\\n--x
password\\u003d@\\u0026user
password: |\n  @
reading\npassword:\n  @\nport:\n  80
password -> @
Cookie: session=@; theme=dark
oauth_token="@", oauth_signature="x"
kubectl create secret generic db --from-literal=password=@
wget --http-password=@ http://x
['tool', '--token', '@', '-v']
curl -H "Authorization: Token @" x
"Authorization":"Token token=\\"@\\""
authorization=Bearer%20@
Proxy-Authorization: Digest username="bob", response="@"
openssl rsa -passin pass:@ -in k
keytool -storepass @ -keypass x
ldapsearch -D cn=admin -w @ -b dc=x
zip -P @ x.zip
echo "@" | sudo -S ls
echo @ | docker login --password-stdin
sudo -S <<< "@"
sshpass -p@ ssh x
""".replace("password: |\n  @", "password: |\\v  @").replace(
    "reading\npassword:\n  @\nport:\n  80", "reading\\vpassword:\\v  @\\vport:\\v  80"
)


@pytest.mark.parametrize("form", WRITTEN.splitlines())
def test_a_secret_is_masked_however_it_is_written(form: str) -> None:
    text = form.replace("\\v", "\n").replace("@", SECRET)

    masked = Redactor().mask(text)

    assert "ub4dor" not in masked
    assert "<secret_1>" in masked


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_is_encoded_is_replaced_whole(encoding: str, times: int) -> None:
    run = f'{{"user":"x","password":"{SECRET}"}}'.encode(encoding)
    for _ in range(times):
        run = base64.b64encode(run)

    masked = Redactor().mask(f"run -EncodedCommand {run.decode()} now")

    assert masked == "run -EncodedCommand <secret_1> now"


def test_what_is_encoded_more_often_than_twice_is_not_looked_into() -> None:
    run = f"password={SECRET} of the database".encode()
    for _ in range(3):
        run = base64.b64encode(run)

    assert Redactor().mask(run.decode()) == run.decode()


def test_base64_of_a_login_in_dockers_file_is_masked() -> None:
    login = base64.b64encode(f"bob:{SECRET}".encode()).decode()

    masked = Redactor().mask(f'{{"auths":{{"registry":{{"auth":"{login}"}}}}}}')

    assert masked == '{"auths":{"registry":{"auth":"<secret_1>"}}}'


@pytest.mark.parametrize(
    "line",
    [
        '{"password":["This field is required."]}',
        '{"errors":{"password":"must be at least 8 characters"}}',
        "signature: (Ljava/lang/String;)V",
        "Invalid password: attempt 2 of 5",
        "password: string, token: bytes = None",
        "password=${DB_PASSWORD} token=$TOKEN secret=%(secret)s",
        'api_key = os.environ["API_KEY"]',
        "PWD=/srv/app OLDPWD=/srv",
        "pass: 1200, fail: 3",
        "auth:SIMPLE (auth:TOKEN)",
        "secretName: shop-tls",
        "docker run -p 8080:80 -u 1000:1000 shop/web",
        "curl -u 1000:1000 is no login",
        "the token is valid and the password was changed",
        "password_file=/run/secrets/db",
        "password=/run/secrets/db_password",
    ],
)
def test_words_behind_the_name_of_a_secret_that_are_none_stay(line: str) -> None:
    assert Redactor().mask(line) == line


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("dbPassword", True),
        ("X-Api-Key", True),
        ("spring.datasource.password", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("userPass", True),
        ("compass", False),
        ("bypass", False),
        ("max_tokens", False),
        ("num_token", False),
        ("primary_key", False),
        ("key", False),
        ("passenger", False),
        ("secretName", False),
    ],
)
def test_a_name_is_known_by_its_end(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_kinds_of_forms_and_places_of_their_own_are_many() -> None:
    assert len(kinds()) >= 90
    assert len(set(kinds())) == len(kinds())
