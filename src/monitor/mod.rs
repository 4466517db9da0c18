//! One process per running container: it starts the container's program, holds its streams, writes its log, and sees it end.

pub mod bring_up;
pub mod client;
pub mod control;
pub mod devices;
mod etc;
pub mod execs;
pub mod health;
pub mod network;
mod orders;
pub mod peers;
pub mod place;
pub mod removal;
pub mod restart;
pub mod scrub;
mod shm;
mod signals;
pub mod sources;
pub mod stdio;
pub mod supervise;
pub mod volumes;
