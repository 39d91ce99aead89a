# docker build -f examples/deploy/processor.Dockerfile -t feedkit-processor .      (from the repository's root)
FROM rust:1-bookworm AS build
# The build compiles librdkafka and jemalloc from source, and uses the system's OpenSSL and zlib.
RUN apt-get update && apt-get install -y --no-install-recommends libssl-dev pkg-config zlib1g-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p feedkit-processor && cp target/release/feedkit-processor /feedkit-processor

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --shell /usr/sbin/nologin feedkit
COPY --from=build /feedkit-processor /usr/local/bin/feedkit-processor
USER feedkit
# Nobody outside of the container can reach its loopback address.
ENV FEEDKIT_LISTEN=0.0.0.0:9464 FEEDKIT_LOG_FORMAT=json
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/feedkit-processor"]
