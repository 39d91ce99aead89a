//! The pipeline on the backends in memory: exact through crashes, zombies, gaps and failing stores.

mod followers;
mod gaps;
mod growth;
mod hooked;
mod moving;
mod rebuilds;
mod stores;
mod world;
