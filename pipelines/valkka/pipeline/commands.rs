//! Commands that every pipeline takes.
//!
//! | command | parameters | result |
//! | --- | --- | --- |
//! | `get` | `{"element","property"}` | its value |
//! | `set` | `{"element","property","value"}` | null |
//! | `elements` | | `[{"name","factory"}]` |
//! | `state` | nothing, or `{"state"}`: `playing`, `paused`, `ready`, `null` | `{"state","pending"}` |
//! | `eos` | | null; the pipeline ends when the end of stream has passed through it |
//! | `keyframe` | nothing, or `{"element"}` | null |
//! | `headers` | nothing, or `{"element"}` | null; stream headers (parameter sets) come again with a keyframe |
//! | `activate`, `deactivate` | `{"branch"}`: the name of a `valve` | null |
//! | `dot` | | the graph, for Graphviz |
//! | `ping` | | `"pong"` |
//! | `commands` | | names of all |

use gst::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use valkka_command::{Handlers, Refusal};

use super::{Running, values};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    element: String,
    property: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    element: String,
    property: String,
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct State {
    state: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Where {
    element: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Branch {
    branch: String,
}

type Done<T = ()> = Result<T, Refusal>;

/// The commands by their names. `null` is as good as `{}` where nothing has to be said.
pub fn handlers() -> Handlers<Running> {
    let mut on = Handlers::new();
    on.on("get", |running: &mut Running, get: Get| running.get(&get));
    on.on("set", |running: &mut Running, set: Set| running.set(&set));
    on.on("elements", |running: &mut Running, _: Value| Done::Ok(running.elements()));
    on.on("state", |running: &mut Running, state: Option<State>| running.state(state.unwrap_or_default()));
    on.on("eos", |running: &mut Running, _: Value| {
        running.end();
        Done::Ok(())
    });
    on.on("keyframe", |running: &mut Running, at: Option<Where>| running.force_keyframe(at.unwrap_or_default(), false));
    on.on("headers", |running: &mut Running, at: Option<Where>| running.force_keyframe(at.unwrap_or_default(), true));
    on.on("activate", |running: &mut Running, branch: Branch| running.open(&branch.branch, true));
    on.on("deactivate", |running: &mut Running, branch: Branch| running.open(&branch.branch, false));
    on.on("dot", |running: &mut Running, _: Value| {
        Done::Ok(running.pipeline.debug_to_dot_data(gst::DebugGraphDetails::all()).to_string())
    });
    on
}

impl Running {
    fn get(&self, get: &Get) -> Done<Value> {
        let (element, property) = self.property(&get.element, &get.property)?;
        if !property.flags().contains(gst::glib::ParamFlags::READABLE) {
            return Err(format!("{}.{} can be set only", get.element, get.property).into());
        }
        Ok(values::to_json(&element.property_value(property.name())))
    }

    fn set(&self, set: &Set) -> Done {
        let (element, property) = self.property(&set.element, &set.property)?;
        let flags = property.flags();
        if !flags.contains(gst::glib::ParamFlags::WRITABLE) || flags.contains(gst::glib::ParamFlags::CONSTRUCT_ONLY) {
            return Err(format!("{}.{} cannot be set", set.element, set.property).into());
        }
        let value = values::from_json(&set.value, &property)?;
        element.set_property_from_value(property.name(), &value);
        Ok(())
    }

    fn property(&self, element: &str, property: &str) -> Done<(gst::Element, gst::glib::ParamSpec)> {
        let found = self.element(element)?;
        let spec = found.find_property(property).ok_or_else(|| format!("{element} has no property {property:?}"))?;
        Ok((found, spec))
    }

    fn element(&self, name: &str) -> Done<gst::Element> {
        let unknown = || format!("there is no element {name:?}; `elements` tells which there are");
        Ok(self.pipeline.by_name(name).ok_or_else(unknown)?)
    }

    fn elements(&self) -> Vec<Value> {
        let describe = |element: gst::Element| {
            let factory = element.factory().map(|factory| factory.name().to_string());
            json!({ "name": element.name().as_str(), "factory": factory })
        };
        self.pipeline.iterate_recurse().into_iter().flatten().map(describe).collect()
    }

    fn state(&mut self, wanted: State) -> Done<Value> {
        if let Some(name) = wanted.state {
            let allowed = || format!("there is no state {name:?}: playing, paused, ready, null");
            self.aim(values::state_of_name(&name).ok_or_else(allowed)?);
        }
        // Where it is now; a change that takes its time is told by an event.
        let (_, current, pending) = self.pipeline.state(gst::ClockTime::ZERO);
        Ok(json!({ "state": values::state_name(current), "pending": values::state_name(pending) }))
    }

    /// Asks upstream for a keyframe: at an element, or at all sinks.
    fn force_keyframe(&self, at: Where, all_headers: bool) -> Done {
        let asked = match at.element {
            Some(name) => self.element(&name)?.send_event(force_key_unit(all_headers)),
            // Not by the pipeline, which wants all of its sinks to have somebody upstream who does.
            None => {
                let sinks = self.pipeline.iterate_sinks().into_iter().flatten();
                sinks.map(|sink| sink.send_event(force_key_unit(all_headers))).fold(false, |done, one| done | one)
            }
        };
        if asked { Ok(()) } else { Err("nobody upstream makes keyframes on demand".into()) }
    }

    /// Lets a branch flow, or rest.
    fn open(&self, branch: &str, open: bool) -> Done {
        let valve = self.element(branch)?;
        if valve.factory().is_none_or(|factory| factory.name() != "valve") {
            return Err(format!("{branch} is no valve: branches that can rest begin with `valve name=...`").into());
        }
        let was_open = !valve.property::<bool>("drop");
        if open && !was_open {
            begin_with_keyframe(&valve);
        }
        valve.set_property("drop", !open);
        Ok(())
    }
}

/// What a branch has missed cannot be decoded from: it goes on with a picture that stands alone.
fn begin_with_keyframe(valve: &gst::Element) {
    if let Some(pad) = valve.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| match info.buffer() {
            // Not `Drop`: GStreamer 1.22 complains of a buffer that the binding has taken and let go.
            Some(buffer) if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Remove,
        });
    }
    if let Some(pad) = valve.static_pad("sink") {
        pad.push_event(force_key_unit(false));
    }
}

/// As `gst_video_event_new_upstream_force_key_unit` makes it: at once.
fn force_key_unit(all_headers: bool) -> gst::Event {
    let structure = gst::Structure::builder("GstForceKeyUnit")
        .field("running-time", u64::MAX)
        .field("all-headers", all_headers)
        .field("count", 0_u32)
        .build();
    gst::event::CustomUpstream::new(structure)
}
