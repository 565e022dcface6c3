"""Builds the post: what mail is handed to, as the settings say."""

from agents.mail import SendMail
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import MongoDeliveries
from devconnect.adapters.mongo.mails import MongoSentMails
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.smtp.client import SmtpMailer
from devconnect.adapters.smtp.files import FileMailer
from devconnect.keys import derive, id_secret
from devconnect.links import Links
from devconnect.mail.compose import Composer
from devconnect.mail.server import parse_sender, parse_server
from devconnect.ports.clock import SystemClock
from devconnect.ports.mail import Mailer
from devconnect.ports.metrics import Metrics
from devconnect.settings import Settings, public_url


def send_mail(settings: Settings, db: Database, metrics: Metrics) -> SendMail:
    """The agent that sends mail."""
    secret = id_secret(settings)
    return SendMail(
        mailer=_mailer(settings),
        sent=MongoSentMails(db, derive(secret, "mail recipients")),
        truth=MongoTruth(db),
        composer=Composer(Links(secret), public_url(settings)),
        clock=SystemClock(),
        metrics=metrics,
        deliveries=MongoDeliveries(db),
    )


def _mailer(settings: Settings) -> Mailer:
    sender = parse_sender(settings.mail_from)
    if settings.smtp_url is None:
        return FileMailer(settings.data_dir / "mail", sender)
    return SmtpMailer(parse_server(settings.smtp_url), sender)
