use super::*;
use cos_tree::{Content, ContentId};
use proptest::prelude::*;

fn meta(uid: u32) -> Metadata {
    Metadata {
        permissions: 0o644,
        uid,
        ..Metadata::default()
    }
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.as_bytes().into(),
        kind,
        meta: meta(1),
    }
}

fn file(path: &str, id: u64) -> Entry {
    let content = Content {
        size: 0,
        id: ContentId(id),
    };
    entry(path, EntryKind::File(content))
}

fn dir(path: &str) -> Entry {
    entry(path, EntryKind::Directory)
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::HardLink(target.as_bytes().into()))
}

fn symlink(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink(target.as_bytes().into()))
}

fn whiteout(path: &str) -> Entry {
    entry(path, EntryKind::Whiteout)
}

fn opaque(path: &str) -> Entry {
    entry(path, EntryKind::Opaque)
}

fn merge(layers: Vec<Vec<Entry>>) -> Result<Tree, MergeError> {
    merge_with(layers, DirectoryRule::Replace, &Limits::default())
}

fn merge_with(
    layers: Vec<Vec<Entry>>,
    rule: DirectoryRule,
    limits: &Limits,
) -> Result<Tree, MergeError> {
    let mut tree = Tree::new(Metadata::default_directory(0));
    let mut merger = Merger::new(&mut tree, limits, rule);
    layers
        .into_iter()
        .try_for_each(|layer| merger.apply(layer))?;
    Ok(tree)
}

/// All paths; files with the number of their content.
fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = Vec::new();
    tree.walk(|path, id| {
        let path = display(path);
        match &tree.node(id).kind {
            _ if path.is_empty() => {}
            NodeKind::File(content) => paths.push(format!("{path}={}", content.id.0)),
            NodeKind::Directory(_) => paths.push(format!("{path}/")),
            _ => paths.push(path),
        }
    });
    paths
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let tree = merge(vec![
        vec![file("a", 1), dir("d"), file("d/x", 2), file("d/y", 3)],
        vec![
            file("a", 4),
            whiteout("a"),
            whiteout("d/x"),
            file("d/x", 5),
            whiteout("no/where"),
        ],
    ]);
    assert_eq!(paths(&tree.unwrap()), ["a=4", "d/", "d/x=5", "d/y=3"]);
}

#[test]
fn opaque_directories_keep_their_own_layer() {
    for marker_first in [true, false] {
        let mut upper = vec![file("d/new", 2)];
        upper.insert(usize::from(!marker_first), opaque("d"));
        let tree = merge(vec![vec![file("d/old", 1), file("d/sub/old", 1)], upper]);
        assert_eq!(paths(&tree.unwrap()), ["d/", "d/new=2"]);
    }
    let tree = merge(vec![vec![file("a", 1)], vec![opaque(""), file("b", 2)]]);
    assert_eq!(paths(&tree.unwrap()), ["b=2"]);
}

#[test]
fn kinds_replace_each_other() {
    let tree = merge(vec![
        vec![file("d/x", 1), file("f", 2), symlink("l", "d")],
        vec![file("d", 3), dir("f"), file("f/x", 4), dir("l")],
    ]);
    assert_eq!(paths(&tree.unwrap()), ["d=3", "f/", "f/x=4", "l/"]);
}

#[test]
fn upper_directories_change_metadata_and_keep_children() {
    let mut upper = dir("d");
    upper.meta = meta(9);
    let mut root = dir("");
    root.meta = meta(8);
    let tree = merge(vec![vec![file("d/x", 1)], vec![upper, root]]).unwrap();
    assert_eq!(tree.node(tree.lookup(b"d").unwrap()).meta, meta(9));
    assert_eq!(tree.node(Tree::ROOT).meta, meta(8));
    assert!(tree.lookup(b"d/x").is_some());
}

#[test]
fn missing_parents_belong_to_root() {
    let tree = merge(vec![vec![file("a/b/c", 1)]]).unwrap();
    let parent = tree.lookup(b"a/b").unwrap();
    assert_eq!(tree.node(parent).meta, Metadata::default_directory(0));
}

#[test]
fn hard_links_share_a_node_and_survive_their_target() {
    let tree = merge(vec![
        vec![file("a", 1)],
        vec![link("b", "a"), link("c", "b")],
        vec![file("a", 2), whiteout("b")],
    ])
    .unwrap();
    assert_eq!(paths(&tree), ["a=2", "c=1"]);
    let same = merge(vec![vec![file("a", 1), link("b", "a")]]).unwrap();
    assert_eq!(same.lookup(b"a"), same.lookup(b"b"));
    let of_link = merge(vec![vec![symlink("a", "nowhere"), link("b", "a")]]).unwrap();
    assert_eq!(of_link.lookup(b"a"), of_link.lookup(b"b"));
}

#[test]
fn bad_hard_links_are_refused() {
    let missing = merge(vec![vec![link("b", "a")]]);
    assert!(matches!(missing, Err(MergeError::MissingTarget { .. })));
    let missing = merge(vec![vec![link("b", "no/such/a")]]);
    assert!(matches!(missing, Err(MergeError::MissingTarget { .. })));
    let directory = merge(vec![vec![dir("a"), link("b", "a")]]);
    assert!(matches!(directory, Err(MergeError::DirectoryTarget { .. })));
}

#[test]
fn parents_that_are_links_stay_inside_the_root() {
    let tree = merge(vec![vec![
        dir("usr/lib"),
        symlink("lib", "usr/lib"),
        file("lib/a", 1),
        symlink("up", "../../../usr"),
        file("up/b", 2),
        symlink("absolute", "/usr/lib"),
        file("absolute/c", 3),
        symlink("dangling", "new/place"),
        file("dangling/d", 4),
        symlink("dots", "nowhere/../usr"),
        file("dots/e", 5),
        link("linked", "lib/a"),
    ]]);
    let expected = [
        "absolute",
        "dangling",
        "dots",
        "lib",
        "linked=1",
        "new/",
        "new/place/",
        "new/place/d=4",
        "up",
        "usr/",
        "usr/b=2",
        "usr/e=5",
        "usr/lib/",
        "usr/lib/a=1",
        "usr/lib/c=3",
    ];
    assert_eq!(paths(&tree.unwrap()), expected);
}

#[test]
fn endless_and_too_deep_links_are_refused() {
    let endless = merge(vec![vec![
        symlink("a", "b"),
        symlink("b", "a"),
        file("a/x", 1),
    ]]);
    assert!(matches!(endless, Err(MergeError::LinkLoop(_))));
    let limits = Limits {
        depth: 8,
        ..Limits::default()
    };
    let deep = vec![
        dir("1/2/3/4/5/6"),
        symlink("a", "1/2/3/4/5/6"),
        dir("a/7/8"),
        symlink("b", "a/7/8"),
        file("b/9", 1),
        file("b/9too/deep", 1),
    ];
    let deep = merge_with(vec![deep], DirectoryRule::Replace, &limits);
    assert!(matches!(deep, Err(MergeError::TooDeep { .. })));
}

#[test]
fn what_is_not_a_directory_holds_nothing() {
    let result = merge(vec![vec![file("a", 1)], vec![file("a/b", 2)]]);
    assert!(matches!(result, Err(MergeError::NotADirectory { .. })));
}

#[test]
fn whiteouts_do_not_follow_links() {
    let lower = || vec![file("real/x", 1), symlink("link", "real")];
    let through = merge(vec![lower(), vec![whiteout("link/x")]]);
    assert!(matches!(through, Err(MergeError::WhiteoutThroughLink(_))));
    let through = merge(vec![lower(), vec![opaque("link")]]);
    assert!(matches!(through, Err(MergeError::WhiteoutThroughLink(_))));
    // An overlay that puts a directory in a link's place marks it opaque.
    let replaced = merge(vec![
        lower(),
        vec![opaque("link"), dir("link"), file("link/y", 2)],
    ]);
    assert_eq!(
        paths(&replaced.unwrap()),
        ["link/", "link/y=2", "real/", "real/x=1"]
    );
    let gone = merge(vec![lower(), vec![whiteout("link")]]);
    assert_eq!(paths(&gone.unwrap()), ["real/", "real/x=1"]);
}

#[test]
fn nodes_that_no_entry_names_count() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let result = merge_with(
        vec![vec![file("a/b/c/d/e/f", 1), file("g/h/i/j/k/l", 2)]],
        DirectoryRule::Replace,
        &limits,
    );
    assert!(matches!(
        result,
        Err(MergeError::TooManyNodes { limit: 10 })
    ));
}

#[test]
fn overlays_follow_links_and_leave_directories_alone() {
    let mut tree = merge(vec![vec![
        dir("usr/bin"),
        symlink("bin", "usr/bin"),
        file("f", 1),
    ]])
    .unwrap();
    let before = tree.node(tree.lookup(b"usr/bin").unwrap()).meta.clone();
    let mut other = dir("usr/bin");
    other.meta = meta(7);
    Merger::new(&mut tree, &Limits::default(), DirectoryRule::Follow)
        .apply(vec![
            dir(""),
            dir("bin"),
            file("bin/sh", 2),
            other,
            file("f", 3),
        ])
        .unwrap();
    assert_eq!(
        paths(&tree),
        ["bin", "f=3", "usr/", "usr/bin/", "usr/bin/sh=2"]
    );
    assert_eq!(tree.node(tree.lookup(b"usr/bin").unwrap()).meta, before);
}

fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    let path = || "[abc](/[abc]){0,3}";
    let target = || "(/|\\.\\./|)[abc](/([abc]|\\.\\.)){0,3}";
    prop_oneof![
        path().prop_map(|p| dir(&p)),
        (path(), 0..9_u64).prop_map(|(p, id)| file(&p, id)),
        (path(), path()).prop_map(|(p, t)| link(&p, &t)),
        (path(), target()).prop_map(|(p, t)| symlink(&p, &t)),
        path().prop_map(|p| whiteout(&p)),
        path().prop_map(|p| opaque(&p)),
    ]
}

proptest! {
    #[test]
    fn any_layers_give_a_tree_or_a_refusal(
        layers in proptest::collection::vec(proptest::collection::vec(arbitrary_entry(), 0..12), 0..4)
    ) {
        if let Ok(tree) = merge(layers) {
            let mut seen = std::collections::BTreeSet::new();
            let mut directories = 0;
            tree.walk(|_, id| {
                if tree.children(id).is_some() {
                    directories += 1;
                    seen.insert(id);
                }
            });
            // A tree: no directory has two names.
            prop_assert_eq!(directories, seen.len());
        }
    }

    #[test]
    fn an_empty_layer_changes_nothing(layer in proptest::collection::vec(arbitrary_entry(), 0..12)) {
        if let Ok(once) = merge(vec![layer.clone()]) {
            let twice = merge(vec![layer, Vec::new()]).unwrap();
            prop_assert_eq!(paths(&once), paths(&twice));
        }
    }
}
