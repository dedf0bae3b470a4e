# Server, cpu worker and registration: everything but the GPU. Build it from the repository's root:
#   docker build -f docker/cpu.Dockerfile -t viska-cpu:0.1.0 .
# With TORCH, the address of a CPU build of torch ending in #sha256=..., it is a third of the size; see docker/README.md.
ARG BASE=python:3.11.15-slim-bookworm

FROM ${BASE} AS packages
ARG TORCH=""
COPY requirements.txt docker/for_cpu.py /build/
RUN python -m venv /opt/viska \
    && python /build/for_cpu.py /build/requirements.txt ${TORCH:+"$TORCH"} > /build/wanted.txt \
    && /opt/viska/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/wanted.txt

FROM ${BASE}
LABEL org.opencontainers.image.title="viska-cpu" \
      org.opencontainers.image.description="Retrains Whisper: Prefect server, cpu worker, registration of the deployments" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 viska \
    && useradd --uid 10001 --gid viska --no-create-home --home-dir /tmp --shell /usr/sbin/nologin viska \
    && install -d -o viska -g viska /store /cache /cache/tmp
COPY --from=packages /opt/viska /opt/viska
ENV PATH=/opt/viska/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/cache/tmp \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    VISKA_CACHE=/cache/viska \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_RESULTS_PERSIST_BY_DEFAULT=false \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1
WORKDIR /app
COPY docker/entry.sh docker/check_store.py docker/
COPY LICENSE README.md pyproject.toml prefect.yaml ./
COPY deployments deployments
COPY tasks tasks
COPY flows flows
RUN pip install --no-cache-dir --no-deps --no-index --no-build-isolation --editable . \
    && python -m compileall -q flows tasks
USER 10001:10001
ENTRYPOINT ["/app/docker/entry.sh"]
CMD ["prefect", "worker", "start", "--pool", "cpu", "--type", "process", "--install-policy", "never", "--with-healthcheck"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
