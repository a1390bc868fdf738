//! `[pipelines.NAME]` and `[workers.NAME]`: what runs beside the cameras' processes.

use std::ops::Range;

use super::Reader;
use crate::{
    config::{
        Config, Pipeline, Runner, What, Worker,
        check::{Entries, Value},
    },
    plan, template,
};

impl Reader<'_> {
    /// Two processes have names of their own.
    fn not_reserved(&mut self, name: &str, span: &Range<usize>, path: &str) {
        if [plan::ANALYSER, plan::RESTREAM].contains(&name) {
            self.wrong(span.clone(), path, "valkka's own process has this name", "another name");
        }
    }

    pub fn pipelines(&mut self, file: &Entries, config: &Config) -> Vec<Pipeline> {
        let mut pipelines = Vec::new();
        for (name, name_span, node) in file.table("pipelines").into_iter().flat_map(Entries::iter) {
            let Value::Table(table) = &node.value else { continue };
            let path = format!("pipelines.{name}");
            self.not_reserved(name, name_span, &path);
            let what = match (table.text("template"), table.text("pipeline")) {
                (Some((template, span)), None) => {
                    let key = format!("{path}.template");
                    self.known_template(template, span, &key, &config.templates).map(What::Template)
                }
                (None, Some((description, span))) => match template::words_of(description) {
                    Ok(_) => Some(What::Description(description.to_owned())),
                    Err(error) => {
                        self.wrong(span, &format!("{path}.pipeline"), error.to_string(), "close the quotes");
                        None
                    }
                },
                (Some(_), Some((_, span))) => {
                    self.wrong(span, &format!("{path}.pipeline"), "there is a template already", "one of the two");
                    None
                }
                (None, None) => {
                    let allowed = "add template = \"NAME\", or pipeline = \"...\"";
                    self.wrong(name_span.clone(), &path, "nothing is said about what it runs", allowed);
                    None
                }
            };
            let camera = self.known_camera(table, &path, file);
            let values = self.values(table, &path);
            let hooks = self.hooks(table, &path, config.runner);
            pipelines.extend(what.map(|what| Pipeline { name: name.clone(), camera, what, values, hooks }));
        }
        pipelines
    }

    pub fn workers(&mut self, file: &Entries, config: &Config) -> Vec<Worker> {
        let mut workers = Vec::new();
        for (name, name_span, node) in file.table("workers").into_iter().flat_map(Entries::iter) {
            let Value::Table(table) = &node.value else { continue };
            let path = format!("workers.{name}");
            self.not_reserved(name, name_span, &path);
            if config.pipelines.iter().any(|pipeline| pipeline.name == *name) {
                self.wrong(name_span.clone(), &path, "a pipeline has this name already", "another name");
            }
            let camera = self.known_camera(table, &path, file);
            match table.texts("command") {
                Some([program, ..]) if !program.is_empty() => {
                    let command = table.texts("command").unwrap_or_default().to_vec();
                    let hooks = self.hooks(table, &path, Runner::Valkka);
                    workers.push(Worker { name: name.clone(), camera, command, hooks });
                }
                _ if table.get("command").is_none()
                    && self.mistakes.iter().any(|m| m.key == format!("{path}.command")) => {}
                _ => {
                    let allowed = "add command = [\"PROGRAM\", \"ARGUMENT\"]";
                    self.wrong(name_span.clone(), &path, "nothing is said about what it runs", allowed);
                }
            }
        }
        workers
    }
}
