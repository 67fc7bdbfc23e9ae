"""Where alerts go in tests: a real SMTP server and a real HTTP receiver, in threads."""

import datetime as dt
import ipaddress
import json
import ssl
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port

USER, PASSWORD = "robot@example.org", "long and secret"


class Mailbox:
    """An SMTP server: `mails` it took, each an EmailMessage; while `refusing`, none."""

    def __init__(self, port):
        self.port, self.mails, self.refusing, self.users = port, [], False, []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.refusing:
            return "451 try later"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"

    def authenticate(self, server, session, envelope, mechanism, data):
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.users.append((encrypted, good))
        return AuthResult(success=good, handled=False)


@contextmanager
def smtp(port=None, certificate=None, *, implicit=False):
    """A server; with a `certificate` (files of it and its key) for TLS, and a log-in.

    TLS begins with STARTTLS, or where it is `implicit` with the first byte.
    """
    mailbox = Mailbox(port or free_port())
    secure: dict[str, Any] = {}
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        secure = {"authenticator": mailbox.authenticate}
        if implicit:
            # aiosmtpd counts as encrypted only what STARTTLS has encrypted
            secure |= {"ssl_context": context, "auth_require_tls": False}
        else:
            secure |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **secure)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def certificate_for_localhost(folder):
    """Make a self-signed certificate, and return its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), address])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(made.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(pem, form, plain))
    return certificate, secret


class Receiver(ThreadingHTTPServer):
    """An HTTP server: `posts` it took, as (content type, document); it answers `status`."""

    daemon_threads = True

    def __init__(self):
        self.posts, self.paths, self.status = [], [], 204
        super().__init__(("127.0.0.1", 0), _Taker)
        self.url = f"http://127.0.0.1:{self.server_port}/secret-path"


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self):
        receiver = cast(Receiver, self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.posts.append((self.headers["Content-Type"], json.loads(body)))
        receiver.paths.append(self.path)
        self.send_response(receiver.status)
        if receiver.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self):  # what a client sends that follows a redirect
        receiver = cast(Receiver, self.server)
        receiver.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format, *args):
        pass


@contextmanager
def http():
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
