//! The pages of the service, in a real browser.

use observability_tests::browser::{Look, Page, axe};

use crate::rig::Backend;

#[test]
fn what_a_page_must_not_do_is_noticed() {
    let page = Page::on_desktop("data:text/html,");
    page.open(
        "<title>bad</title><meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><body><h1>bad</h1>\
         <img src=http://other.example/x.png><p style='width:3000px;color:%23aaa;background:%23bbb'>pale</p>\
         <script>document.title = 'changed'</script>",
    );
    assert_eq!(page.text("h1"), "bad");
    let noise = page.noise().join("\n");
    for part in ["Content Security Policy", "request to http://other.example/x.png"] {
        assert!(noise.contains(part), "{part}: {noise}");
    }
    let found = axe::violations(&page).join("\n");
    for rule in ["image-alt", "html-has-lang", "in light: color-contrast", "in dark: color-contrast"] {
        assert!(found.contains(rule), "{rule}: {found}");
    }
    page.emulate_phone(true);
    assert!(page.overflowing().iter().any(|found| found.contains("pale")), "{:?}", page.overflowing());
}

#[test]
fn a_page_keeps_to_itself() {
    let backend = Backend::start(&[]);
    let page = Page::on_desktop(format!("http://{}", backend.address));
    page.open("/readyz");
    for look in Look::ALL {
        page.look(look);
        page.picture(&format!("readyz-{}", look.name()));
    }
    page.assert_quiet(&["favicon.ico"]);
}
