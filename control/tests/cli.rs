//! The command line as a person meets it: every block of `tests/cmd/*.md` is run and compared.

#[test]
fn commands_do_what_their_pages_say() {
    trycmd::TestCases::new().case("tests/cmd/*.md");
}
