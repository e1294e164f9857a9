//! The commands of the project's pages do what the pages say.

use std::path::Path;

use anyhow::{Result, ensure};
use graylane_tests::{console, paths};

#[test]
fn the_readme_says_what_happens() -> Result<()> {
    page_holds("README.md")
}

#[test]
fn the_chinese_readme_says_what_happens() -> Result<()> {
    page_holds("README.zh-CN.md")
}

#[test]
fn the_reference_says_what_happens() -> Result<()> {
    page_holds("docs/reference.md")
}

#[test]
fn the_chinese_reference_says_what_happens() -> Result<()> {
    page_holds("docs/reference.zh-CN.md")
}

#[test]
fn every_link_between_pages_leads_somewhere() -> Result<()> {
    let pages = [
        "docs/analysis-api.md",
        "README.md",
        "README.zh-CN.md",
        "ARCHITECTURE.md",
        "docs/reference.md",
        "docs/reference.zh-CN.md",
        "docs/analysis.md",
        "docs/analysis.zh-CN.md",
    ];
    for page in pages {
        let text = std::fs::read_to_string(paths::root().join(page))?;
        let folder = paths::root().join(page).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in links(&text) {
            ensure!(folder.join(link).exists(), "{page} links to {link}, which is not there");
        }
    }
    Ok(())
}

/// Every make target and every command of graylane that the README names exists.
#[test]
fn the_readme_names_real_commands() -> Result<()> {
    let readme = std::fs::read_to_string(paths::root().join("README.md"))?;
    let makefile = std::fs::read_to_string(paths::root().join("Makefile"))?;
    let targets = words_after(&readme, "make ");
    ensure!(!targets.is_empty(), "the README names no make target");
    for target in targets {
        ensure!(makefile.contains(&format!("\n{target}:")), "the README names `make {target}`");
    }
    let help = std::process::Command::new(paths::graylane_dir()?.join("graylane")).arg("--help").output()?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in words_after(&readme, "`graylane ") {
        ensure!(help.contains(&format!("\n  {command} ")), "the README names `graylane {command}`");
    }
    Ok(())
}

fn page_holds(page: &str) -> Result<()> {
    let steps = console::steps(&std::fs::read_to_string(paths::root().join(page))?);
    ensure!(!steps.is_empty(), "{page} has no console block");
    console::run(&steps, &paths::root(), &[paths::graylane_dir()?])
}

/// Targets of links to files of this repository.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    let targets = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.starts_with("http")).map(|target| target.split('#').next().unwrap_or(target))
}

fn words_after<'t>(text: &'t str, lead: &str) -> Vec<&'t str> {
    let is_word = |word: &&str| !word.is_empty();
    let end = |rest: &'t str| rest.split(|char: char| !char.is_ascii_lowercase() && char != '-').next().unwrap_or("");
    text.split(lead).skip(1).map(end).filter(is_word).collect()
}
