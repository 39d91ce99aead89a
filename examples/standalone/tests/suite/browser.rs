//! The live page in a real browser: headless Chromium, driven through chromedriver.

mod served;
mod webdriver;

use feedkit_test_services::{apply, needs_chromium};
use std::path::Path;

use serde_json::{Value, json};

use served::Served;
use webdriver::{Browser, key};

/// Whom the page acts as with the token that `serve` prints.
const USER: &str = "you";

#[apply(needs_chromium!)]
#[test]
fn acting_moves_the_counter_and_brings_the_notification() {
    let browser = Browser::start();
    let served = Served::start(&[]);
    open(&browser, &served);

    act(&browser, "post", "mine");
    served.like("mine", 0..9);
    act(&browser, "like", "mine");
    browser.until("the tenth like is counted", "return rankOf('mine') === '10'");
    told_once(&browser, "Your post got 10 likes");

    let request = browser.text("#act-request");
    assert!(request.contains("$TOKEN") && !request.contains(&served.token), "{request}");
    assert!(browser.text("#act-body").contains("\"position\""));
    act(&browser, "unlike", "mine");
    browser.until("the like is taken back", "return rankOf('mine') === '9'");
    browser.click("[data-post='mine']");
    browser.until(
        "its own view is open",
        "return document.querySelector('#post-counts dd').textContent === '9'",
    );
    assert_eq!(browser.text("#post-author"), format!("by {USER}"));
    browser.is_content();
}

#[apply(needs_chromium!)]
#[test]
fn a_restart_is_shown_and_what_was_missed_follows() {
    let browser = Browser::start();
    let mut served = Served::start(&[]);
    open(&browser, &served);
    act(&browser, "post", "mine");
    served.like("mine", 0..10);
    told_once(&browser, "Your post got 10 likes");

    let address = served.address();
    served.stop();
    browser.until(
        "the page says that the connection is lost",
        "return visible('#banner') && /Connection lost/.test(document.querySelector('#banner').textContent)",
    );

    // At another address, where the page does not come: its author is told while it is away.
    served.start_again("127.0.0.1:0");
    served.told(|| served.like("mine", 10..100), "Your post got 100 likes");
    served.stop();
    served.start_again(&address);
    live(&browser);
    told_once(&browser, "Your post got 100 likes");
    told_once(&browser, "Your post got 10 likes");
    browser.until("the banner is gone", "return !visible('#banner')");
    browser.until("the counter has caught up", "return rankOf('mine') === '100'");
    browser.is_content();
}

#[apply(needs_chromium!)]
#[test]
fn without_a_token_it_reads_and_with_one_it_is_live() {
    let browser = Browser::start();
    let served = Served::start(&[]);
    served.like("theirs", 0..3);
    browser.open(&served.url);
    browser.run(FUNCTIONS);
    browser.until("reads work", "return rankOf('theirs') === '3'");
    assert_eq!(browser.run("return visible('#token-panel')"), true);
    assert_eq!(browser.run("return document.querySelector('#act-send').disabled"), true);

    browser.focus("#token-input");
    browser.keys(&format!("{}/#token={}{}", served.url.trim_end_matches('/'), served.token, key::ENTER));
    live(&browser);
    assert_eq!(browser.run("return visible('#token-panel')"), false);
    served.like("theirs", 3..5);
    browser.until("counts arrive", "return rankOf('theirs') === '5'");

    // It stays with the tab over a reload, and out of the address.
    browser.reload();
    browser.run(FUNCTIONS);
    live(&browser);
    assert_eq!(browser.run("return location.hash"), "");
    browser.is_content();
}

#[apply(needs_chromium!)]
#[test]
fn all_of_it_works_with_the_keyboard_alone() {
    let browser = Browser::start();
    let served = Served::start(&[]);
    served.like("first", 0..2);
    open(&browser, &served);
    browser.until("a post is there", "return rankOf('first') === '2'");

    browser.keys(key::TAB);
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    assert_eq!(browser.run("return document.activeElement.getBoundingClientRect().top >= 0"), true);
    browser.keys(key::ENTER);
    assert_eq!(browser.run("return document.activeElement.id"), "posts");
    tab_to(&browser, "document.activeElement.dataset.post === 'first'");
    browser.keys(key::ENTER);
    browser.until("the post is open", "return document.querySelector('#post-dialog').open");
    tab_to(&browser, "document.activeElement.id === 'post-comment'");
    browser.keys(&format!("good 🙂 <b>not bold</b>{}", key::ENTER));
    browser.until(
        "the comment is there, as text",
        "return document.querySelector('#post-comments .text')?.textContent === 'good 🙂 <b>not bold</b>'",
    );
    browser.keys(key::ESCAPE);
    browser
        .until("it is closed", "return !document.querySelector('#post-dialog').open && location.hash === ''");
    assert_eq!(browser.run("return document.activeElement.dataset.post"), "first");

    tab_to(&browser, "document.activeElement.name === 'type'");
    browser.keys(key::RIGHT);
    tab_to(&browser, "document.activeElement.id === 'act-post'");
    browser.run("document.activeElement.select()");
    browser.keys(&format!("first{}", key::ENTER));
    browser.until(
        "the form was sent, and accepted",
        "return /\"unlike\"/.test(document.querySelector('#act-request').textContent) &&
            /^202/.test(document.querySelector('#act-status').textContent)",
    );
    browser.is_content();
}

#[apply(needs_chromium!)]
#[test]
fn it_fits_a_narrow_window_and_darkness() {
    let browser = Browser::start();
    let served = Served::start(&[]);
    served.like("a-post-with-a-rather-long-name.that~goes:on@and-on-and-on-for-all-of-a-line-and-more", 0..3);
    browser.window(360, 740);
    browser.media(&[("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]);
    open(&browser, &served);
    browser.until("a post is there", "return document.querySelectorAll('#top-list .rank').length === 1");
    act(&browser, "like", "p9");
    for what in ["page", "post"] {
        assert_eq!(browser.run(TOO_WIDE), json!([]), "{what} is wider than the window");
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), 360);
        browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}-narrow-dark.png")));
        browser.run("document.querySelector('#top-list .rank').click()");
        browser.until("the post is open", "return document.querySelector('#post-dialog').open");
    }
    assert!(browser.run(BRIGHTNESS).as_u64().unwrap() < 150, "dark is not dark");
    browser.media(&[("prefers-color-scheme", "light")]);
    assert!(browser.run(BRIGHTNESS).as_u64().unwrap() > 600, "light is not light");
    browser.is_content();
}

/// Run with `--ignored` after the page has changed.
#[test]
#[ignore = "makes docs/page.png"]
fn the_picture_for_the_readme() {
    let browser = Browser::start();
    let served = Served::start(&["--demo"]);
    browser.window(1280, 1040);
    open(&browser, &served);
    browser.until(
        "something has happened",
        "return document.querySelectorAll('#top-list .rank').length >= 8 && document.querySelector('#alerts-list li')",
    );
    // The line of events a second fills, and the minutes pass.
    std::thread::sleep(std::time::Duration::from_secs(70));
    let top = browser.run("return document.querySelector('#top-list .rank').dataset.post");
    act(&browser, "like", top.as_str().unwrap());
    browser
        .until("it is visible", "return /visible/.test(document.querySelector('#act-visible').textContent)");
    browser.run("document.activeElement.blur()");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/page.png");
    browser.screenshot(&docs);
}

/// What the scripts below use.
const FUNCTIONS: &str = "
    window.visible = (selector) => document.querySelector(selector).checkVisibility();
    window.rankOf = (post) => document.querySelector(`#top-list [data-post='${post}'] .value b`)?.textContent;
    window.titles = () => [...document.querySelectorAll('#feed-list .title')].map((title) => title.textContent);
";

/// What sticks out on the right.
const TOO_WIDE: &str = "
    return [...document.querySelectorAll('body *')]
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.visually-hidden'))
        .map((e) => e.outerHTML.slice(0, 80));
";

/// The sum of red, green and blue of the ground.
const BRIGHTNESS: &str = "
    const ground = getComputedStyle(document.documentElement).backgroundColor;
    return ground.match(/\\d+/g).map(Number).reduce((a, b) => a + b);
";

/// Opens the page at the address with the token, and waits until it is live.
fn open(browser: &Browser, served: &Served) {
    browser.open(&format!("{}#token={}", served.url, served.token));
    browser.run(FUNCTIONS);
    live(browser);
    assert_eq!(browser.run("return location.href"), served.url.as_str(), "the token is out of the address");
}

fn live(browser: &Browser) {
    browser
        .until("the page is live", "return document.querySelector('#connection').dataset.status === 'open'");
}

/// Acts through the form, and sees that it was accepted.
fn act(browser: &Browser, kind: &str, post: &str) {
    browser.run("document.querySelector('#act-status').textContent = ''");
    browser.run_with("document.querySelector(`#act-type [value=${arguments[0]}]`).click()", &[kind.into()]);
    browser.run_with("document.querySelector('#act-post').value = arguments[0]", &[post.into()]);
    browser.click("#act-send");
    browser.until(
        "it is accepted",
        "return document.querySelector('#act-status').textContent.startsWith('202')",
    );
}

/// The user is told this, and no second time.
fn told_once(browser: &Browser, title: &str) {
    let times = |titles: &Value| titles.as_array().unwrap().iter().filter(|told| *told == title).count();
    browser.until_with(title, "return titles().includes(arguments[0])", &[title.into()]);
    assert_eq!(times(&browser.run("return titles()")), 1, "{title}");
}

/// Presses Tab until `condition` holds; whatever has the focus on the way can be seen to have it.
fn tab_to(browser: &Browser, condition: &str) {
    for _ in 0..80 {
        browser.keys(key::TAB);
        let seen = "const e = document.activeElement; \
            const shown = e.matches('input[type=radio]') ? e.nextElementSibling : e; \
            return e === document.body || getComputedStyle(shown).outlineStyle !== 'none' || e.outerHTML.slice(0, 120)";
        assert_eq!(browser.run(seen), true, "the focus cannot be seen");
        if browser.run(&format!("return {condition}")) == true {
            return;
        }
    }
    panic!("Tab does not reach where {condition}");
}
