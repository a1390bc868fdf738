//! Both elements, in pipelines of this process. Whole programs are tested in the workspace's own tests.
//!
//! Each test has a channel of its own in a temporary folder, and waits for facts: a message, a sample, a counter.

mod stage;

mod back;
mod coming_and_going;
mod encoded;
mod frame_path;
mod hold;
mod hostile;
mod layouts;
mod motion_gate;
mod refusals;
mod stream;
mod telling;
mod timing;
mod zero_copy;
