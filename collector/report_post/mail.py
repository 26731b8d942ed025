"""Reports by mail: what comes in is a parcel, what goes out is one message with its files attached.

One message goes to all recipients. What the server has taken is delivered, whatever the connection does afterwards.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr
from ipaddress import ip_address

from collector.errors import SettingsError, Unavailable
from collector.posting import fingerprint
from collector.report_post.parcel import Parcel
from collector.settings.sending import MailServer

SECONDS, GOODBYE_SECONDS = 30.0, 3.0
"""How long the server may take for one answer; for the last one nobody waits for."""


class Mail:
    """Some recipients behind one server."""

    def __init__(
        self,
        server: MailServer,
        sender: str,
        recipients: tuple[str, ...],
        *,
        ca: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self.name = "mail"
        self.fingerprint = fingerprint("mail", *sorted(recipients))
        self._server, self._sender, self._recipients = server, sender, recipients
        self._ca, self._seconds = ca, seconds

    def send(self, parcel: Parcel) -> str | None:
        """Send it; how many recipients were refused, where only some were."""
        message = self.message(parcel)
        addresses = [parseaddr(each)[1] for each in self._recipients]
        with telling(), self._connected() as server:
            refused = server.send_message(message, parseaddr(self._sender)[1], addresses)
        return f"{len(refused)} of {len(addresses)} recipients were refused" if refused else None

    def message(self, parcel: Parcel) -> EmailMessage:
        """What is sent. The same report has the same Message-ID each time."""
        message = EmailMessage(policy=POLICY)
        report = parcel.report
        message["Subject"] = parcel.title
        message["From"], message["To"] = self._sender, ", ".join(self._recipients)
        message["Date"] = format_datetime(report.period.local(report.made_at))
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{fingerprint(report.span.name, self.fingerprint)}.report@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(parcel.text)
        message.add_alternative(parcel.letter, subtype="html")
        for name, (form, content) in parcel.files.items():
            main, _, kind = form.media_type.partition(";")[0].partition("/")
            message.add_attachment(content, maintype=main, subtype=kind, filename=name)
        return message

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        """A session, signed in and under TLS as the setting wants it."""
        told = self._server
        if told.security == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                told.host, told.port, timeout=self._seconds, context=self._context()
            )
        else:
            server = smtplib.SMTP(told.host, told.port, timeout=self._seconds)
        try:
            server.ehlo_or_helo_if_needed()
            is_safe = told.security == "smtps"
            if told.security == "smtp+starttls" or (told.security == "smtp" and server.has_extn("starttls")):
                server.starttls(context=self._context())
                server.ehlo()
                is_safe = True
            if told.user is not None:
                if not is_safe and not _is_here(told.host):
                    raise Unavailable("the mail server offers no TLS: its password is not shown to it")
                server.login(told.user, told.password or "")
            yield server
        finally:
            with suppress(OSError, smtplib.SMTPException):
                if server.sock is not None:
                    server.sock.settimeout(GOODBYE_SECONDS)
                server.quit()
            server.close()

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise SettingsError(f"smtp_ca: cannot be read ({type(error).__name__}); wanted a PEM file") from None


@contextmanager
def telling() -> Iterator[None]:
    """Turn what fails into Unavailable, without any address or what the server said of one."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise Unavailable(f"the mail server refuses user and password ({error.smtp_code})") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(sorted({str(code) for code, _ in error.recipients.values()}))
        raise Unavailable(f"the mail server refuses every recipient ({codes})") from None
    except smtplib.SMTPResponseException as error:
        raise Unavailable(f"the mail server answers {error.smtp_code} ({type(error).__name__})") from None
    except smtplib.SMTPNotSupportedError:
        raise Unavailable("the mail server cannot do what it is asked for (TLS, signing in)") from None
    except ssl.SSLCertVerificationError:
        raise Unavailable("the mail server's certificate is not trusted; smtp_ca names authorities that are") from None
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable(f"the mail server does not answer as one ({type(error).__name__})") from None


def _is_here(host: str) -> bool:
    """Whether nobody else can listen in."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
