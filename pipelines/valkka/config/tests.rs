use super::*;

const FILE: &str = "valkka.toml";

fn parsed(text: &str) -> Result<Config, Mistakes> {
    let folder = std::env::temp_dir();
    let around = Surroundings { variable: &|_| None, folder: &folder, may_refer: true };
    Config::parse(FILE, text, &around)
}

/// What is told about a file with mistakes.
#[track_caller]
fn told(text: &str) -> String {
    parsed(text).expect_err("it has mistakes").to_string()
}

#[test]
fn the_example_is_right() {
    let config = parsed(EXAMPLE).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.cameras.iter().map(|camera| camera.name.as_str()).collect::<Vec<_>>(), ["lobby", "gate"]);
}

/// Each kind of mistake: the file, and what is told about it.
const MISTAKES: &[(&str, &[&str])] = &[
    (
        "[cameras.lobby]\nuri = \"test:ball\"\nlatnecy = 5\n",
        &["valkka.toml:3:1: no such key", "(cameras.lobby.latnecy)", "did you mean latency?"],
    ),
    (
        "[server]\nport = 8080\n",
        &["valkka.toml:2:1: no such key", "(server.port)", "allowed: listen, token, tls-certificate, tls-key"],
    ),
    (
        "[cameras.lobby]\nuri = \"rtsp://cam/1\"\ncodec = \"h266\"\n",
        &["valkka.toml:3:9: \"h266\" is not known here", "(cameras.lobby.codec)", "allowed: \"h264\" or \"h265\""],
    ),
    (
        "[cameras.lobby]\nuri = \"rtsp://cam/1\"\nlatency = 5000000\n",
        &[
            "valkka.toml:3:11: 5000000 is out of range",
            "(cameras.lobby.latency)",
            "3 | latency = 5000000\n  |           ^^^^^^^ allowed: 0 to 60000 milliseconds",
        ],
    ),
    (
        "[cameras.lobby]\nuri = 5\n",
        &["valkka.toml:2:7: an integer does not belong here", "(cameras.lobby.uri)", "allowed: a text in quotes"],
    ),
    (
        "[cameras.lobby]\nuri = \"http://me:hush@cam/\"\n",
        &["valkka.toml:2:7: http://***@cam/: no such kind", "(cameras.lobby.uri)", "allowed: rtsp://..., rtsps://..."],
    ),
    (
        "[cameras.Lobby]\nuri = \"test:ball\"\n",
        &["valkka.toml:1:10: \"Lobby\" is no name", "(cameras)", "1 to 48 of a-z, 0-9, '-' and '_'"],
    ),
    (
        "[cameras.lobby]\nrecord = true\n",
        &["valkka.toml:1:10: nothing is said about where its picture comes from", "(cameras.lobby)", "add uri = "],
    ),
    (
        "[cameras.lobby]\nuri = \"test:ball\"\npipeline = \"videotestsrc\"\n",
        &["valkka.toml:3:12: there is a uri already", "(cameras.lobby.pipeline)", "one of uri and pipeline"],
    ),
    (
        "[workers.analyse]\ncommand = [\"true\"]\n",
        &["valkka.toml:1:10: valkka's own process has this name", "(workers.analyse)", "another name"],
    ),
    (
        "[workers.a]\ncommand = [\"true\"]\nstart-hooks = [\"ping\", { comand = \"x\" }]\n",
        &["valkka.toml:3:24: this is no command", "(workers.a.start-hooks)", "as in [\"ping\", { command = "],
    ),
    (
        "[processes]\nrunner = \"gst-launch\"\n[cameras.a]\nuri = \"test:ball\"\nstop-hooks = [\"eos\"]\n",
        &["valkka.toml:5:14: gst-launch-1.0 takes no commands", "(cameras.a.stop-hooks)"],
    ),
    (
        "[server]\nlisten = \"somewhere\"\n",
        &["valkka.toml:2:10: \"somewhere\" is no address", "(server.listen)", "as in \"0.0.0.0:8080\""],
    ),
    (
        "[server]\ntls-certificate = \"nowhere.pem\"\n",
        &["valkka.toml:2:19: nowhere.pem: no such file", "(server.tls-certificate)", "there is no tls-key"],
    ),
    (
        "[cameras.lobby]\nuri = \"rtsp://${NO_SUCH_HOST}/1\"\n",
        &[
            "valkka.toml:2:7: the environment variable NO_SUCH_HOST is not set",
            "(cameras.lobby.uri)",
            "${NO_SUCH_HOST:-text}",
        ],
    ),
    (
        "[cameras.lobby]\nuri = \"rtsp://cam/\"\nuser = \"me\"\npassword = \"${file:nowhere}\"\n",
        &["valkka.toml:4:12: ", "(cameras.lobby.password)", "nowhere: No such file", "must exist and be readable"],
    ),
    (
        "[cameras.lobby]\nuri = \"test:ball\"\n[pipelines.door]\ntemplate = \"raley\"\ncamera = \"loby\"\n",
        &[
            "valkka.toml:4:12: there is no template \"raley\"",
            "(pipelines.door.template)",
            "did you mean \"relay\"?",
            "valkka.toml:5:10: there is no camera \"loby\"",
            "(pipelines.door.camera)",
            "did you mean \"lobby\"?",
        ],
    ),
    (
        "[analysis]\ndetector = \"poeple\"\nfps = 0\n",
        &[
            "valkka.toml:2:12: \"poeple\" is no detector",
            "(analysis.detector)",
            "motion, people, face or dnn",
            "1 to 240 frames a second",
        ],
    ),
    (
        "[limits.web]\ncpus = \"3-1\"\nmemory = \"lots\"\nnice = 20\n",
        &["names no processors", "\"0-3,6\"", "\"lots\" is not known here", "KiB, MiB or GiB", "-20 to 19 steps"],
    ),
    (
        "[recording]\nmax-age = \"a week\"\n",
        &["valkka.toml:2:11: \"a week\" is not known here", "(recording.max-age)", "as in \"10m\" or \"7d\""],
    ),
    (
        "[workers.mine]\ncommand = []\n",
        &["valkka.toml:1:10: nothing is said about what it runs", "(workers.mine)", "command = ["],
    ),
    (
        "[cameras]\nlobby = \"rtsp://me:hush@cam/\"\n",
        &["valkka.toml:2:9: a string does not belong here", "(cameras.lobby)", "a table, as in [cameras.lobby]"],
    ),
    ("[server\nlisten = 5\n", &["valkka.toml:1:8: this is not TOML"]),
    (
        "[cameras.a]\nuri = \"test:ball\"\n[cameras.a]\nuri = \"test:ball\"\n",
        &["valkka.toml:3:10: this is not TOML: duplicate key"],
    ),
];

#[test]
fn every_mistake_names_file_line_and_what_is_allowed() {
    for (text, parts) in MISTAKES {
        let told = told(text);
        for part in *parts {
            assert!(told.contains(part), "{part:?} is not told about\n{text}\nbut\n{told}");
        }
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text =
        "[server]\nlisten = \"x\"\ntoken = 5\n[cameras.a]\nuri = \"ftp://x\"\nfsp = 3\n[log]\nformat = \"xml\"\n";
    let mistakes = parsed(text).unwrap_err();
    assert_eq!(mistakes.heading(), "5 mistakes:", "{mistakes}");
    let told = mistakes.to_string();
    let places: Vec<_> = told.lines().filter(|line| line.starts_with(FILE)).map(|line| &line[..15]).collect();
    assert_eq!(places, ["valkka.toml:2:1", "valkka.toml:3:9", "valkka.toml:5:7", "valkka.toml:6:1", "valkka.toml:8:1"]);
}

#[test]
fn a_secret_is_never_shown_wherever_the_mistake_is() {
    let wrong_key = told("[cameras.a]\nuri = \"test:ball\"\npasswrd = \"hush\"\n");
    let no_toml = told("[cameras.a]\npassword = \"hush\nuri = \"x\"\n");
    let too_short = told("[server]\ntoken = \"hush\"\n");
    let not_rtsp = told("[cameras.a]\nuri = \"test:ball\"\nuser = \"me\"\npassword = \"hush\"\n");
    let in_the_line = told("[cameras.a]\nuri = \"rtsp://me:hush@cam\"\npipeline = \"rtspsrc user-pw=hush ! x\"\n");
    for told in [wrong_key, no_toml, too_short, not_rtsp, in_the_line] {
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn values_mean_what_they_say() {
    let text = r#"
        [server]
        listen = "0.0.0.0:9000"
        token = "0123456789abcdef"
        [analysis]
        detector = "people"
        fps = 5
        parameters = { threshold = 0.5 }
        [cameras.b]
        uri = "rtsp://10.0.0.4/live"
        user = "me"
        password = "p@ss"
        codec = "h265"
        transport = "udp"
        record = true
        [cameras.b.analysis]
        width = 320
        parameters = { hit = 1 }
        [cameras.a]
        uri = "test:ball"
        analysis = { enabled = false }
        [cameras.off]
        uri = "test:snow"
        enabled = false
        [limits.capture]
        nice = 5
        cpus = "0-1,3"
        memory = "512 MiB"
        [recording]
        folder = "/recordings"
        max-size = "1 GB"
    "#;
    let config = parsed(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    let [b, a] = &config.cameras[..] else { panic!("two are enabled, in the order of the file") };
    assert_eq!(b.source, crate::camera::Source::Rtsp("rtsp://me:p%40ss@10.0.0.4/live".into()));
    let analysis = b.analysis.as_ref().unwrap();
    assert_eq!((analysis.detector.as_str(), analysis.width, analysis.fps), ("people", 320, 5));
    assert_eq!(serde_json::to_string(&analysis.parameters).unwrap(), r#"{"hit":1,"threshold":0.5}"#);
    assert!(a.analysis.is_none() && b.record);
    let limit = &config.limits[&Kind::Capture];
    assert_eq!((limit.nice, limit.memory_bytes), (Some(5), Some(512 << 20)));
    assert_eq!(limit.cpus.as_deref(), Some(&[0, 1, 3][..]));
    assert_eq!((config.recording.segment_s, config.recording.max_size_bytes), (600, Some(1_000_000_000)));
}

#[test]
fn nothing_of_a_configuration_shows_a_secret_by_debug() {
    let text = "[server]\ntoken = \"hush-hush-hush\"\n[cameras.a]\nuri = \"rtsp://me:hush-hush@cam/1\"\n";
    let shown = format!("{:?}", parsed(text).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn a_camera_of_the_api_is_checked_like_one_of_the_file() {
    let config = parsed("[cameras.a]\nuri = \"test:ball\"\n").unwrap();
    let json = serde_json::json!({ "name": "b", "uri": "rtsp://cam/1", "latency": 100, "analysis": { "fps": 3 } });
    let camera = config.camera_of_json(&json).unwrap();
    assert_eq!((camera.name.as_str(), camera.latency_ms), ("b", 100));
    assert_eq!(camera.analysis.unwrap().fps, 3);
    let wrong = config.camera_of_json(&serde_json::json!({ "name": "b", "uri": "rtsp://cam/1", "codec": "h266" }));
    assert_eq!(wrong.unwrap_err(), "\"h266\" is not known here (codec); allowed: \"h264\" or \"h265\"");
    let nowhere = config.camera_of_json(&serde_json::json!({ "name": "b", "uri": "nowhere.mp4" })).unwrap_err();
    assert!(nowhere.starts_with("nowhere.mp4: no such file (uri); allowed: rtsp://"), "{nowhere}");
    // Whoever talks to the API gets no file and no variable of the orchestrator's.
    let spy = config.camera_of_json(&serde_json::json!({ "name": "b", "uri": "rtsp://cam/${file:/etc/hostname}" }));
    assert!(spy.is_err(), "{spy:?}");
}

#[test]
fn the_reference_has_every_key() {
    let reference = include_str!("../../../docs/configuration.md");
    fn all(keys: &[keys::Key], names: &mut Vec<&'static str>) {
        for key in keys {
            names.push(key.name);
            if let keys::Kind::Table(inner) | keys::Kind::Named(inner) = key.kind {
                all(inner, names);
            }
        }
    }
    let mut names = Vec::new();
    all(keys::FILE, &mut names);
    for name in names {
        let as_key = reference.contains(&format!("`{name}`"));
        let as_table = reference.contains(&format!("## `[{name}")) || reference.contains(&format!("`[{name}."));
        assert!(as_key || as_table, "docs/configuration.md does not say what {name} is");
    }
}
