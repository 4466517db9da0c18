//! The client of the distribution-spec.
//!
//! ```text
//! endpoint     where and how a registry is reached: data, made by the configuration
//! source       a repository over its endpoints: mirrors, then the registry; blobs as streams that outlive connections
//! client       one endpoint: manifests, blobs, lists of tags                                 (manifest)
//! upload       one endpoint: blobs and manifests to it
//! auth         challenges, credentials, tokens                                               (challenge)
//! download     what lies at an address of its own
//! http         one request over kept connections; redirects, timeouts, an end on demand      (tls, proxy, trouble)
//! failure      what can go wrong, for those who branch on it                                 (retry)
//! hosts        daemon.json, hosts.toml, certs.d → endpoints
//! credentials  what users have for registries: config.json, helpers
//! server       the other side: the pull half of the protocol over HTTP
//! ```
//!
//! This folder knows no image store: what it gives are bytes, and whoever takes them verifies them.

pub mod auth;
mod challenge;
pub mod client;
pub mod credentials;
pub mod download;
pub mod endpoint;
pub mod failure;
pub mod hosts;
pub mod http;
pub mod manifest;
pub mod proxy;
mod retry;
pub mod search;
pub mod server;
pub mod source;
mod tls;
mod trouble;
pub mod upload;
