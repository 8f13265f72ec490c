"""Channel URLs: what they mean, and that nothing that is secret is ever shown."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from mlobs_pipelines.act.alerts.channel import ChannelError, NotNowError, key_of
from mlobs_pipelines.act.alerts.channels import channel, channels
from mlobs_pipelines.act.alerts.mail import Mail
from mlobs_pipelines.act.alerts.post import post
from tests.act.alerts.test_message import message


def test_a_mail_address_says_server_login_and_recipients():
    place = channel("mailto://me%40corp:p%40ss@mail.example.com:2587/?to=a@b.org,c@d.org&from=ml@corp.example")
    assert isinstance(place, Mail)
    assert (place.host, place.port, place.user, place.password) == ("mail.example.com", 2587, "me@corp", "p@ss")
    assert (place.sender, place.recipients, place.tls) == ("ml@corp.example", ("a@b.org", "c@d.org"), "upgrade")


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtps://h/?to=a@b.org", 465, "start"),
        ("mailto://h:465/?to=a@b.org", 465, "start"),
        ("mailto://h/?to=a@b.org", 587, "upgrade"),
        ("smtp://localhost/?to=a@b.org", 25, "off"),
        ("smtp://me:pw@localhost/?to=a@b.org", 587, "upgrade"),
        ("smtp://h/?to=a@b.org&tls=off", 25, "off"),
    ],
)
def test_a_password_or_a_far_server_means_tls(url, port, tls):
    place = channel(url)
    assert (place.port, place.tls) == (port, tls)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook-SECRET",
        "http://hooks.slack.com/services/SECRET",
        "webhook+https://h/SECRET",
        "webhook+https://u:SECRET@h/?secret=SECRET",
        "mailto://me:SECRET@h",
        "mailto://me:SECRET@h/?to=not an address",
        "mailto://me:SECRET@h/?to=a@b.org%0d%0aBcc:x@y.z",
        "mailto://me:SECRET@h/?to=a@b.org&from=x%0ay@z.org",
        "mailto://me:SECRET@h/?to=a@b.org&tls=maybe",
        "pagerduty://SECRET?base=nowhere",
        "mailto://me:SECRET@h:99999/?to=a@b.org",
        "SECRET",
    ],
)
def test_a_wrong_url_is_one_line_without_the_url(url):
    with pytest.raises(ChannelError) as caught:
        channel(url)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0/B0/SECRET",
        "mailto://me:SECRET@h/?to=a@b.org",
        "pagerduty://SECRET",
        "webhook+https://h/p?secret=SECRET",
        "tgram://SECRET/chat",
    ],
)
def test_a_channel_shows_no_secret_and_its_key_stays(url):
    place = channel(url)
    assert "SECRET" not in repr(place) + place.label + key_of(place)
    assert any("SECRET" in secret for secret in place.secrets)
    assert key_of(place) == key_of(channel(url))


def test_a_new_password_does_not_make_it_another_channel():
    urls = "mailto://me:{}@h/?to=a@b.org", "webhook+https://h/p?secret={}"
    for url in urls:
        assert key_of(channel(url.format("old"))) == key_of(channel(url.format("new")))
    assert key_of(channel("pagerduty://one")) != key_of(channel("pagerduty://two"))


def test_of_two_entries_for_one_place_the_lower_severity_counts_and_a_wrong_one_is_named(world):
    world.alert(("pagerduty://k", "critical"), ("pagerduty://k", "warning"), ("https://x.example/SECRET", "info"))
    found, problems = channels(world.spec)
    assert [entry.severity for _, entry in found.values()] == ["warning"]
    assert len(problems) == 1
    assert problems[0].startswith("alerts[2].to: ")
    assert "SECRET" not in problems[0]


def test_a_webhook_is_signed_over_time_and_body(serve):
    server = serve("receiver.py", "200")
    place = channel(f"webhook+http://127.0.0.1:{server.port}/in?secret=s3&team=ml")
    [receipt] = place.send(message(), ())
    [got] = server.got()
    assert (receipt.detail, receipt.refused) == ("HTTP 200: ok", False)
    assert got["path"] == "/in?team=ml"
    stamp = got["headers"]["X-Mlobs-Timestamp"]
    wanted = hmac.new(b"s3", f"{stamp}.{got['body']}".encode(), hashlib.sha256).hexdigest()
    assert got["headers"]["X-Mlobs-Signature"] == f"v1={wanted}"
    assert got["headers"]["X-Mlobs-Delivery"] == message().id
    assert json.loads(got["body"])["schema"] == "mlobs.alert/1"


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_a_receiver_that_never_ends_is_left_in_time(serve, answer):
    server = serve("receiver.py", answer)
    with pytest.raises(NotNowError, match="no answer"):
        post(f"http://127.0.0.1:{server.port}/", b"x", {}, timeout=0.5)


def test_a_redirect_is_not_followed(serve):
    server = serve("receiver.py", "302", "200")
    receipt = post(f"http://127.0.0.1:{server.port}/", b"x", {})
    assert receipt.refused
    assert len(server.got()) == 1


def test_a_proxy_is_used_where_the_environment_says_so(serve, monkeypatch):
    server = serve("receiver.py", "200")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", f"http://u:p@127.0.0.1:{server.port}")
    assert not post("http://far.example/in", b"x", {}).refused
    [got] = server.got()
    assert got["path"] == "http://far.example/in"
    assert got["headers"]["Proxy-Authorization"] == "Basic dTpw"


def test_every_other_url_is_apprises(serve):
    pytest.importorskip("apprise")
    server = serve("receiver.py", "200", "500")
    place = channel(f"json://127.0.0.1:{server.port}/in")
    [receipt] = place.send(message(), ())
    assert not receipt.refused
    assert json.loads(server.got()[0]["body"])["title"].startswith("[critical] card_fraud")
    with pytest.raises(NotNowError):
        list(place.send(message(), ()))
    assert next(channel("nosuchscheme://x").send(message(), ())).refused
