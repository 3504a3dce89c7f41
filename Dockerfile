# One image with both programs: diff-contrast-server and diff-contrast-trainer.
#
#   docker build -t diff-contrast .                              CPU
#   docker build -t diff-contrast --build-arg DEVICE=cuda .      CUDA (feature `cuda`)
#
# CUDA's compiler and libraries come from the base images below. The CPU image contains none of them.
ARG DEVICE=cpu

FROM debian:bookworm-slim AS base-cpu
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS base-cuda

FROM base-${DEVICE} AS build
ARG DEVICE
# The GPU's compute capability, since no GPU is visible during the build: 80 for A100, 90 for H100 and H200.
ARG CUDA_COMPUTE_CAP=90
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential ca-certificates curl nodejs npm \
 && rm -rf /var/lib/apt/lists/*
# RUSTUP_TOOLCHAIN takes precedence over rust-toolchain.toml.
ENV PATH=/root/.cargo/bin:$PATH RUSTUP_TOOLCHAIN=1.95.0
RUN curl -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --profile minimal --default-toolchain $RUSTUP_TOOLCHAIN
WORKDIR /source
COPY . .
RUN features=$([ "$DEVICE" = cuda ] && echo server/cuda,trainer/cuda || true) \
 && export CUDA_COMPUTE_CAP \
 && cargo xtask frontend \
 && cargo build --release --locked -p server -p trainer --features "$features"

FROM debian:bookworm-slim AS runtime-cpu
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04 AS runtime-cuda

FROM runtime-${DEVICE}
RUN useradd --system --create-home --home-dir /srv/diff-contrast diff-contrast
WORKDIR /srv/diff-contrast
COPY --from=build /source/target/release/diff-contrast-server /source/target/release/diff-contrast-trainer /usr/local/bin/
COPY --from=build /source/target/site site
COPY --from=build /source/static static
COPY --from=build /source/models models
RUN mkdir data && chown diff-contrast data
USER diff-contrast
ENV SITE=site STATIC=static MODELS=models ARTIFACTS=data/artifacts ADDRESS=0.0.0.0:8080
EXPOSE 8080
CMD ["diff-contrast-server"]
