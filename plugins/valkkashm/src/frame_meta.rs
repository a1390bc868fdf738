//! The custom meta `valkka-frame`: which frame of the channel a buffer is.
//!
//! `valkkashmsrc` puts it onto each buffer. An application that answers a frame copies `generation` and `seq` into its
//! reply, and so the writer knows what the answer is about.
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | generation, seq | guint64 | the frame |
//! | published | gint64 | when the writer published it: ns on `CLOCK_MONOTONIC` |
//! | latency | guint64 | ns from publishing to being taken by this reader |
//! | utc-offset | gint64 | `CLOCK_REALTIME` − `CLOCK_MONOTONIC` at publishing, ns |
//! | time | gint64 | channel time, ns; absent for a frame without PTS |

use std::{ops::ControlFlow, sync::OnceLock};

use frame_ring::{Frame, FrameId};
use gst::{buffer::BufferMetaForeachAction as Action, glib, prelude::*};

/// Name of the meta and of its structure.
pub const NAME: &str = "valkka-frame";

/// What the meta says, taken from a frame before it becomes memory.
#[derive(Debug, Clone, Copy)]
pub struct FrameMark {
    id: FrameId,
    published: i64,
    latency: u64,
    utc_offset: i64,
    time: Option<i64>,
}

impl FrameMark {
    /// Of `frame`.
    pub fn of(frame: &Frame) -> Self {
        Self {
            id: frame.id(),
            published: frame.published(),
            latency: frame.latency(),
            utc_offset: frame.utc_offset(),
            time: frame.info().time,
        }
    }

    /// Sees to it that `buffer` has the meta, whatever that says. What is attached later is written into it, at a fraction of the cost.
    pub fn prepare(buffer: &mut gst::BufferRef) {
        if !with_structure(buffer, |_| {}) {
            let id = FrameId { generation: 0, seq: 0 };
            Self { id, published: 0, latency: 0, utc_offset: 0, time: Some(0) }.add(buffer);
        }
    }

    /// Puts the meta onto `buffer`, or into the one that was prepared.
    pub fn attach(self, buffer: &mut gst::BufferRef) {
        let there = with_structure(buffer, |structure| {
            if !self.overwrite(structure) {
                structure.remove_all_fields();
                self.write(structure);
            }
        });
        if !there {
            self.add(buffer);
        }
    }

    /// False when `structure` has not exactly the fields that this mark has: whoever had the buffer before may have changed it.
    fn overwrite(self, structure: &mut gst::StructureRef) -> bool {
        let fields = Fields::get();
        let mut written = 0;
        let all = structure.map_in_place(|field, value| {
            *value = match field {
                // The same for thousands of frames.
                field if field == fields.generation && value.get() == Ok(self.id.generation) => {
                    written += 1;
                    return ControlFlow::Continue(());
                }
                field if field == fields.generation => self.id.generation.to_value(),
                field if field == fields.seq => self.id.seq.to_value(),
                field if field == fields.published => self.published.to_value(),
                field if field == fields.latency => self.latency.to_value(),
                field if field == fields.utc_offset => self.utc_offset.to_value(),
                field if field == fields.time && self.time.is_some() => self.time.unwrap_or_default().to_value(),
                _ => return ControlFlow::Break(()),
            };
            written += 1;
            ControlFlow::Continue(())
        });
        all.is_continue() && written == 5 + u32::from(self.time.is_some())
    }

    fn add(self, buffer: &mut gst::BufferRef) {
        Fields::get();
        let mut meta = gst::meta::CustomMeta::add(buffer, NAME).expect("registered just before");
        self.write(meta.mut_structure());
    }

    #[expect(deprecated, reason = "its successor takes names, and looks each of them up again before GStreamer 1.26")]
    fn write(self, structure: &mut gst::StructureRef) {
        let fields = Fields::get();
        structure.set_by_quark(fields.generation, self.id.generation);
        structure.set_by_quark(fields.seq, self.id.seq);
        structure.set_by_quark(fields.published, self.published);
        structure.set_by_quark(fields.latency, self.latency);
        structure.set_by_quark(fields.utc_offset, self.utc_offset);
        if let Some(time) = self.time {
            structure.set_by_quark(fields.time, time);
        }
    }
}

/// Is this such a meta?
pub fn is<T>(meta: &gst::MetaRefMut<'_, gst::Meta, T>) -> bool {
    meta.api() == Fields::get().api
}

/// Hands the meta's structure to `look`. False when `buffer` has none. GStreamer's own way to it looks the name up, under a lock, which
/// takes longer than writing.
fn with_structure(buffer: &mut gst::BufferRef, mut look: impl FnMut(&mut gst::StructureRef)) -> bool {
    let mut found = false;
    buffer.foreach_meta_mut(|mut meta| {
        if is(&meta)
            && let Some(custom) = meta.try_as_mut_custom_meta()
        {
            found = true;
            look(custom.mut_structure());
            return ControlFlow::Break(Action::Keep);
        }
        ControlFlow::Continue(Action::Keep)
    });
    found
}

/// The frame that the meta's structure names.
pub fn id_in(structure: &gst::StructureRef) -> Option<FrameId> {
    Some(FrameId { generation: structure.get("generation").ok()?, seq: structure.get("seq").ok()? })
}

/// Names as GLib numbers them: looked up once and not for each frame.
struct Fields {
    api: glib::Type,
    generation: glib::Quark,
    seq: glib::Quark,
    published: glib::Quark,
    latency: glib::Quark,
    utc_offset: glib::Quark,
    time: glib::Quark,
}

impl Fields {
    /// Registers the meta, too.
    fn get() -> &'static Self {
        static FIELDS: OnceLock<Fields> = OnceLock::new();
        FIELDS.get_or_init(|| {
            // No tags: it stays right whatever happens to the picture.
            gst::meta::CustomMeta::register_simple(NAME);
            Self {
                api: glib::Type::from_name(format!("{NAME}-api")).expect("registered just before"),
                generation: glib::Quark::from_str("generation"),
                seq: glib::Quark::from_str("seq"),
                published: glib::Quark::from_str("published"),
                latency: glib::Quark::from_str("latency"),
                utc_offset: glib::Quark::from_str("utc-offset"),
                time: glib::Quark::from_str("time"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(buffer: &gst::BufferRef) -> gst::Structure {
        gst::meta::CustomMeta::from_buffer(buffer, NAME).expect("it has the meta").structure().to_owned()
    }

    fn mark(seq: u64, time: Option<i64>) -> FrameMark {
        FrameMark { id: FrameId { generation: 7, seq }, published: 1, latency: 2, utc_offset: -3, time }
    }

    #[test]
    fn a_mark_written_into_another_one_says_what_a_new_one_says() {
        gst::init().expect("GStreamer starts");
        let mut used = gst::Buffer::new();
        FrameMark::prepare(used.get_mut().expect("new"));
        // With and without a time, and with fields that somebody downstream has added, changed or taken away.
        let spoil: [fn(&mut gst::StructureRef); 5] = [
            |_| {},
            |structure| structure.remove_field("seq"),
            |structure| structure.set("seq", "three"),
            |structure| structure.set("faces", 2u32),
            |structure| structure.remove_all_fields(),
        ];
        for (seq, (spoil, time)) in (0..).zip(spoil.into_iter().flat_map(|spoil| [(spoil, None), (spoil, Some(5))])) {
            let mut new = gst::Buffer::new();
            mark(seq, time).attach(new.get_mut().expect("new"));
            let used = used.get_mut().expect("nobody else has it");
            assert!(with_structure(used, spoil));
            mark(seq, time).attach(used);
            let (new, used) = (said(&new), said(used));
            assert_eq!(new.n_fields(), used.n_fields(), "{used}");
            assert!(
                new.iter()
                    .all(|(field, value)| used.value(field).is_ok_and(|v| format!("{v:?}") == format!("{value:?}"))),
                "{new} {used}"
            );
        }
        assert_eq!(id_in(&said(&used)), Some(FrameId { generation: 7, seq: 9 }));
    }
}
