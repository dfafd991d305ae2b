# syntax=docker/dockerfile:1
# The image of HotSwap: one program, for engine (`serve`) and nodes (`node run`).
#
#   docker build --tag hotswap .
#
# A machine without Docker makes the same image by `cargo xtask image`: the same program, user, paths,
# labels and entry point. docs/adr/0033 says what differs.

FROM rust:1.95-bookworm AS build
# The one of this image, not the newest that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /source
RUN rustup target add wasm32-unknown-unknown
COPY . .
# Everything that cargo downloads and compiles stays out of the layers.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package hotswap \
    && strip --strip-all -o /hotswap target/release/hotswap
RUN install --directory --mode=0750 --owner=65532 --group=65532 /data

# libc, libgcc, certificates of authorities, /etc/passwd and /tmp, and nothing else: no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hotswap" \
      org.opencontainers.image.description="An engine that rolls module versions out to fleets of nodes, and the nodes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /hotswap /usr/bin/hotswap
COPY --from=build --chown=65532:65532 /data /var/lib/hotswap
COPY LICENSE /usr/share/doc/hotswap/LICENSE
WORKDIR /var/lib/hotswap
USER 65532:65532
EXPOSE 5000 8080 8081
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/hotswap"]
