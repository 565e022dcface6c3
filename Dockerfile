# One image for the gateway, every worker and the topics job; docker-compose.yml says which of them runs.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data HOST=0.0.0.0
RUN useradd --uid 10001 --create-home devconnect && install --directory --owner=devconnect /data
WORKDIR /app

COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .

USER devconnect
VOLUME /data
CMD ["python", "-m", "web"]
