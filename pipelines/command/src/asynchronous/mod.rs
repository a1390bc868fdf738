//! Both ends for programs that run on tokio (feature `tokio`).

mod backend;
mod frontend;

pub use backend::Backend;
pub use frontend::Frontend;
