//! The whole system, with real processes: one module per topic, and the stage they play on.
//!
//! Every test has a folder, a runtime folder and process groups of its own; whatever it starts dies with it.

mod stage;

mod accounting;
mod api;
mod chaos;
mod configuration;
mod docs;
mod examples;
mod hold;
mod hooks;
mod install;
mod limits;
mod orchestrator;
mod page;
mod page_access;
mod page_events;
mod page_many;
mod pipeline;
mod record;
mod refusal;
mod relay;
mod stop;
mod stream;
mod supervision;
mod templates;
mod transfer;
mod verbs;
mod whole;
