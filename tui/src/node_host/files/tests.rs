//! Claims about what may be read.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const SECRET: &str = "outside";

/// `open/` may be read; `shut/secret` may not.
struct World {
    dir: tempfile::TempDir,
    roots: Roots,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("open/sub")).unwrap();
        fs::create_dir_all(at("shut")).unwrap();
        fs::write(at("open/a.txt"), "inside").unwrap();
        fs::write(at("open/sub/b.json"), "{}").unwrap();
        fs::write(at("shut/secret"), SECRET).unwrap();
        let roots = Roots::open(&[at("open")]).unwrap();
        Self { dir, roots }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ask(&self, command: &str, path: &str) -> Result<Value, Refused> {
        let path = self.at(path);
        self.roots.answer(command, &json!({ "path": path }))
    }

    fn fetch(&self, path: &str) -> Result<String, Refused> {
        let reply = self.ask("file.fetch", path)?;
        let content = reply["base64"].as_str().unwrap();
        let content = base64::engine::general_purpose::STANDARD
            .decode(content)
            .unwrap();
        Ok(String::from_utf8(content).unwrap())
    }
}

#[test]
fn files_and_directories_below_are_read() {
    let world = World::new();
    assert_eq!(world.fetch("open/a.txt").unwrap(), "inside");
    assert_eq!(world.fetch("open/sub/../a.txt").unwrap(), "inside");
    symlink("sub/b.json", world.at("open/link")).unwrap();
    assert_eq!(world.fetch("open/link").unwrap(), "{}");
    assert_eq!(
        world.ask("file.stat", "open/sub").unwrap()["type"],
        "directory"
    );
    let list = world.ask("dir.list", "open").unwrap();
    let names: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["name"])
        .collect();
    assert_eq!(names, ["a.txt", "link", "sub"]);
    let dirs = world.ask("fs.listDir", "open").unwrap();
    assert_eq!(dirs["entries"][0]["name"], "sub");
    assert!(dirs.get("parent").is_none(), "{dirs}");
    let below = world.ask("fs.listDir", "open/sub").unwrap();
    assert!(below["parent"].as_str().unwrap().ends_with("/open"));
}

#[test]
fn nothing_leads_out() {
    let world = World::new();
    let long = "x".repeat(4096);
    symlink("../shut/secret", world.at("open/up")).unwrap();
    symlink(world.at("shut/secret"), world.at("open/absolute")).unwrap();
    symlink("/etc", world.at("open/etc")).unwrap();
    symlink("/proc/self/root/etc/passwd", world.at("open/magic")).unwrap();
    fs::hard_link(world.at("shut/secret"), world.at("open/hard")).unwrap();
    for path in [
        "open/../shut/secret",
        "open/sub/../../shut/secret",
        "open/up",
        "open/absolute",
        "open/etc/passwd",
        "open/magic",
        "open/hard",
        "shut/secret",
        "open-not",
        "/etc/passwd",
        "/proc/self/environ",
        "open/sub",
        "open/nothing",
        &format!("open/{long}"),
        "open/a\0b",
    ] {
        for command in ["file.fetch", "dir.list", "fs.listDir"] {
            if command != "file.fetch" && path == "open/sub" {
                continue;
            }
            let answer = world.ask(command, path);
            let refused = answer.expect_err(path);
            assert!(!refused.message.contains(SECRET) && refused.code == "INVALID_REQUEST");
        }
    }
    let relative = world.roots.answer("file.fetch", &json!({"path": "a.txt"}));
    assert!(
        relative
            .expect_err("refused")
            .message
            .contains("not absolute")
    );
}

#[test]
fn devices_pipes_and_large_files_are_not_read() {
    let world = World::new();
    nix::unistd::mkfifo(&world.at("open/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        world
            .fetch("open/pipe")
            .expect_err("refused")
            .message
            .contains("no regular file")
    );
    File::create(world.at("open/large"))
        .unwrap()
        .set_len(MAX_BYTES + 1)
        .unwrap();
    let params = json!({"path": world.at("open/large"), "maxBytes": u64::MAX});
    let refused = world
        .roots
        .answer("file.fetch", &params)
        .expect_err("refused");
    assert!(
        refused.message.contains("FILE_TOO_LARGE"),
        "{}",
        refused.message
    );
    let params = json!({"path": world.at("open/a.txt"), "maxBytes": 3});
    assert!(world.roots.answer("file.fetch", &params).is_err());
}

#[test]
fn a_directory_that_is_exchanged_1000_times_never_leads_out() {
    let world = World::new();
    let (inside, link) = (world.at("open/real"), world.at("open/spare"));
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("secret"), "inside").unwrap();
    symlink("../shut", &link).unwrap();
    let over = AtomicBool::new(false);
    let (mut read, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // One step in which the name is a directory or a link that leads out.
                let _ = nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &inside,
                    nix::fcntl::AT_FDCWD,
                    &link,
                    nix::fcntl::RenameFlags::RENAME_EXCHANGE,
                );
            }
        });
        for _ in 0..1000 {
            match world.fetch("open/real/secret") {
                Ok(content) => {
                    assert_eq!(content, "inside");
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(read + refused, 1000);
}

#[test]
fn a_long_directory_comes_in_pages() {
    let world = World::new();
    (0..5).for_each(|n| fs::write(world.at(&format!("open/sub/{n}")), "").unwrap());
    let page = |token: &str| {
        let params = json!({"path": world.at("open/sub"), "maxEntries": 4, "pageToken": token});
        world.roots.answer("dir.list", &params).unwrap()
    };
    let first = page("0");
    assert_eq!(
        (
            first["entries"].as_array().unwrap().len(),
            &first["nextPageToken"]
        ),
        (4, &json!("4"))
    );
    let last = page("4");
    assert_eq!(
        (
            last["entries"].as_array().unwrap().len(),
            &last["truncated"]
        ),
        (2, &json!(false))
    );
}
