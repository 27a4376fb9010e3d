# The image of every railyard container: one static binary and nothing else.
#
#     docker build -t railyard:dev .
#
# Without a registry to pull the build stage from, deploy/build-image makes the same image from a binary built outside
# (deploy/Dockerfile.scratch). The last stages of both files must agree; tests/packaging.rs compares them.

ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# The command says it with its version; .git is not copied.
ARG REVISION=
ENV RAILYARD_COMMIT=${REVISION}
RUN deploy/build-static /image

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="railyard" \
      org.opencontainers.image.description="Expert-parallel mixture-of-experts over simulated racks" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /image/railyard /railyard
COPY --from=build /image/licenses/ /licenses/
COPY --from=build --chown=65532:65532 /image/writable/ /
USER 65532:65532
ENTRYPOINT ["/railyard"]
CMD ["--help"]
