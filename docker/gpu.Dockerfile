# The cuda worker. CUDA comes with torch, so the base is the same as that of the cpu image; the machine gives the driver (580 or newer).
#   docker build -f docker/gpu.Dockerfile -t viska-gpu:0.1.0 .
ARG BASE=python:3.11.15-slim-bookworm

FROM ${BASE} AS packages
COPY requirements.txt /build/
RUN python -m venv /opt/viska \
    && /opt/viska/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements.txt

FROM ${BASE}
LABEL org.opencontainers.image.title="viska-gpu" \
      org.opencontainers.image.description="Retrains Whisper: trainings and scoring on an NVIDIA GPU" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# With training.compile Triton builds its launchers when a training begins; nothing else needs a compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 viska \
    && useradd --uid 10001 --gid viska --no-create-home --home-dir /tmp --shell /usr/sbin/nologin viska \
    && install -d -o viska -g viska /store /cache /cache/tmp
COPY --from=packages /opt/viska /opt/viska
ENV PATH=/opt/viska/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/cache/tmp \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    VISKA_CACHE=/cache/viska \
    TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_RESULTS_PERSIST_BY_DEFAULT=false \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
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
CMD ["prefect", "worker", "start", "--pool", "cuda", "--type", "process", "--limit", "1", "--install-policy", "never", "--with-healthcheck"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
