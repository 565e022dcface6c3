"""ports.mail.Mailer: by SMTP, or as files where there is no server."""
