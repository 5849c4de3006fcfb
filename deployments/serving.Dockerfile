# The prediction service: `docker build -f deployments/serving.Dockerfile -t nightgate-serving .`
# It holds what serving needs and no more; the store (releases, prediction log) is mounted at /var/lib/nightgate.
FROM python:3.11-slim AS build
WORKDIR /build
COPY deployments/serving.lock .
RUN python -m venv /opt/nightgate \
    && /opt/nightgate/bin/pip install --no-cache-dir --no-deps --require-hashes -r serving.lock
COPY pyproject.toml README.md LICENSE ./
COPY nightgate nightgate
COPY flows flows
COPY tasks tasks
COPY deployments deployments
COPY data_contracts data_contracts
COPY models models
COPY tests/project tests/project
COPY docs/project docs/project
RUN /opt/nightgate/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin nightgate \
    && mkdir -p /srv/project/models /var/lib/nightgate && touch /srv/project/pyproject.toml \
    && chown nightgate /var/lib/nightgate
COPY --from=build /opt/nightgate /opt/nightgate
ENV NIGHTGATE_PROJECT=/srv/project NIGHTGATE_STORE=/var/lib/nightgate NIGHTGATE_KEYS=/var/lib/nightgate/keys.json \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s CMD ["/opt/nightgate/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=1)"]
ENTRYPOINT ["/opt/nightgate/bin/nightgate", "serve", "--host", "0.0.0.0", "--port", "8000"]
