"""What deploy/check-yard does: a coordinator with four nodes and its page, looked at by a browser, promtool and schemathesis."""

import glob
import http.server
import json
import pathlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

TOKEN = "check-0123456789abcdef"
LIMIT_S = 60
SIZES = [(390, 844), (1024, 768), (1920, 1080)]
binary, pictures = sys.argv[1], sys.argv[2]


def say(text):
    print(f"check-yard: {text}", flush=True)


def fail(text):
    raise SystemExit(f"check-yard: FAILED: {text}")


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A coordinator, four nodes in two racks, and the page."""

    def __init__(self, work):
        self.work, self.processes = work, []
        self.port, self.ui = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self.url = f"http://127.0.0.1:{self.ui}"
        self.environment = {**os.environ, "RAILYARD_CERTS": f"{work}/certs", "RAILYARD_CLUSTER": f"127.0.0.1:{self.port}"}
        self.environment.pop("RAILYARD_UI_TOKEN", None)
        self.run("certs", f"{work}/certs", "--racks", "2", "--ranks-per-rack", "2")
        self.coordinator = self.start_coordinator()
        self.node_metrics = free_port(socket.SOCK_STREAM)
        for name in ["rack0-0", "rack0-1", "rack1-0", "rack1-1"]:
            shown = ["--metrics", f"127.0.0.1:{self.node_metrics}"] if name == "rack0-0" else []
            self.start("node", "--name", name, *shown)
        self.run("health", "--nodes", "4", "--wait", "30")

    def run(self, *args):
        return subprocess.run([binary, *args], env=self.environment, cwd=self.work, check=True, capture_output=True, text=True, timeout=LIMIT_S).stdout

    def start(self, *args):
        log = open(f"{self.work}/{args[0]}-{len(self.processes)}.log", "w")
        process = subprocess.Popen([binary, *args], env=self.environment, cwd=self.work, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_coordinator(self):
        listen = ["--listen", f"127.0.0.1:{self.port}", "--no-first-run", "--state", "state"]
        return self.start("coordinator", *listen, "--ui", f"127.0.0.1:{self.ui}", "--ui-token", TOKEN)

    def end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=LIMIT_S) as answer:
            return answer.read().decode()


def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class Page:
    def __init__(self, driver, cluster):
        self.driver, self.cluster = driver, cluster

    def open(self, behind=""):
        self.driver.get("about:blank")
        self.driver.get(f"{self.cluster.url}/{behind}")

    def id(self, name):
        return self.driver.find_element(By.ID, name)

    def until(self, what, holds, limit_s=LIMIT_S):
        try:
            WebDriverWait(self.driver, limit_s, poll_frequency=0.1).until(lambda _: holds())
        except Exception:
            self.driver.save_screenshot(f"{pictures}/failed.png")
            fail(f"{what} did not come; see {pictures}/failed.png; the page says: {self.id('line').text}")

    def text(self, name):
        return self.id(name).text

    def runs(self):
        return json.loads(self.cluster.get("/v1/runs"))["runs"]

    def button(self, run, key):
        return self.driver.find_elements(By.CSS_SELECTOR, f"#runs tr[data-id='{run}'] [data-key={key}]")

    def slide(self, name, key, times):
        for _ in range(times):
            self.id(name).send_keys(key)


def accessible(driver, what):
    """The rules of WCAG 2.1 A and AA, by axe."""
    script = glob.glob(f"{sys.prefix}/lib/python3*/site-packages/axe_playwright_python/axe.min.js")[0]
    # The page's own policy lets no script in; the driver's commands are not the page's.
    driver.execute_script(open(script).read())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
    found = driver.execute_async_script("const done = arguments[1]; axe.run({runOnly: {type: 'tag', values: arguments[0]}}).then(done)", tags)
    violations = [f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}" for one in found["violations"]]
    if violations:
        fail(f"{what} breaks rules of accessibility: " + "; ".join(violations))
    return len(found["passes"])


def look(page, name):
    """The same page at three sizes, light and dark: pictures of it, nothing wider than the window, and accessible."""
    driver, passed = page.driver, 0
    for scheme in ["light", "dark"]:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for width, height in SIZES:
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
            over = driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over > 0:
                fail(f"{name} at {width} px is {over} px too wide")
            tall = min(6000, driver.execute_script("return document.documentElement.scrollHeight"))
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": tall, "deviceScaleFactor": 1, "mobile": False})
            driver.save_screenshot(f"{pictures}/{name}-{width}-{scheme}.png")
        passed = accessible(driver, f"{name}, {scheme}")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return passed


def by_browser(cluster):
    driver = browser()
    driver.set_window_size(1280, 900)
    page = Page(driver, cluster)
    try:
        # Without a token the page shows, and changes nothing.
        page.open()
        page.until("the cluster", lambda: "4 nodes" in page.text("state"))
        page.until("the form for the token", lambda: page.id("unlock").is_displayed())
        page.driver.find_element(By.CSS_SELECTOR, "#ask button.main").click()
        page.until("a word about the token", lambda: "needs the token" in page.text("line"))
        # A wrong one is told so.
        page.id("token").send_keys("wrong-wrong-wrong-wrong", Keys.ENTER)
        page.driver.find_element(By.CSS_SELECTOR, "#ask button.main").click()
        page.until("a word about a wrong token", lambda: "wrong token" in page.text("line"))
        assert page.runs() == []
        # With the right one, by keyboard alone: a smaller model, two ranks a rack.
        page.open(f"#token={TOKEN}")
        page.until("the models", lambda: len(page.id("model").find_elements(By.TAG_NAME, "option")) > 10)
        page.id("model").send_keys("granite-1b")
        page.slide("per-rack", Keys.ARROW_LEFT, 6)
        page.slide("tokens", Keys.ARROW_LEFT, 3)
        page.until("a simulated answer", lambda: "2 racks: hierarchical" in page.text("answer"))
        before = page.text("answer")
        page.slide("throttle", Keys.ARROW_RIGHT, 8)
        page.until("another simulated answer", lambda: page.text("answer") not in ("", before))
        # Two runs, a third that is cancelled while it waits.
        for _ in range(3):
            known = len(page.runs())
            page.id("ask").submit()
            page.until("the run in the list", lambda: len(page.runs()) > known)
        newest = page.runs()[0]["id"]
        page.until("its button to cancel", lambda: page.button(newest, "cancel"))
        # A button stays the same one while its run waits, whatever else the page learns meanwhile.
        page.button(newest, "cancel")[0].click()
        page.until("the run to go", lambda: len(page.runs()) == 2)
        page.until("racks with what was sent", lambda: "measured" in page.text("racks-caption"))
        page.until("the matrix", lambda: "between racks" in page.text("matrix-caption"))
        say(f"a run under way: {look(page, 'under-way')} rules of accessibility hold")
        # The coordinator is killed under it, and comes back.
        cluster.coordinator.send_signal(signal.SIGKILL)
        cluster.coordinator.wait(10)
        page.until("a word about the lost coordinator", lambda: "looking for it again" in page.text("line"))
        cluster.coordinator = cluster.start_coordinator()
        page.until("the coordinator to be found again", lambda: page.text("line") == "Live.")
        page.until("both runs to be done", lambda: [run["state"] for run in page.runs()] == ["done", "done"], 180)
        page.until("both runs to be shown as done", lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#runs button[aria-label^=rows]")) == 2)
        # What they have yielded, side by side.
        for tick in [0, 1]:
            page.driver.find_elements(By.CSS_SELECTOR, "#runs input[type=checkbox]")[tick].click()
        page.until("the button to compare", lambda: page.id("compare").is_enabled())
        page.id("compare").click()
        page.until("both beside each other", lambda: "B over A" in page.text("rows"))
        say(f"runs compared: {look(page, 'compared')} rules of accessibility hold")
        for entry in driver.get_log("browser"):
            known = ["status of 401", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
            if entry["level"] == "SEVERE" and not any(word in entry["message"] for word in known):
                fail(f"the browser complains: {entry['message']}")
        replayed(page)
        run = page.runs()[0]["id"]
        driver.get(f"{cluster.url}/v1/runs/{run}/page")
        if not driver.find_element(By.TAG_NAME, "h1").text:
            fail("the report of a run has no title")
        look(page, "report")
        saved_as_png(driver)
        say("the page: without a token, with a wrong one, by keyboard; runs started, watched, cancelled, compared; the coordinator lost and found")
    finally:
        driver.quit()


def replayed(page):
    """A finished run plays through dispatch and combine, stands where a key puts it, and shows all bytes at its end."""
    driver = page.driver
    driver.find_elements(By.CSS_SELECTOR, "#runs button[aria-label^=replay]")[0].click()
    page.until("the replay", lambda: page.id("film").is_displayed() and "combine" in page.text("film-now"))
    page.until("its end", lambda: page.text("film-play") == "Play")
    told = [one.text for one in driver.find_elements(By.CSS_SELECTOR, "#film-racks .value")]
    if not told or any(one != "none" and len(set(one.split(" of "))) != 1 for one in told):
        fail(f"a replay ends with {told}")
    page.id("film-at").send_keys(Keys.HOME)
    page.until("its beginning", lambda: page.text("film-now").startswith("dispatch, 0"))
    begun = page.text("film-now")
    page.id("film-at").send_keys(Keys.PAGE_UP)
    page.until("a moment in the step", lambda: page.text("film-now") != begun)
    say(f"a finished run is replayed, at {page.text('film-now')}: {look(page, 'replay')} rules of accessibility hold")


def saved_as_png(driver):
    """The button of a picture makes a PNG three times as wide as the picture's own units."""
    made = """
        const done = arguments[0], make = HTMLCanvasElement.prototype.toBlob;
        HTMLCanvasElement.prototype.toBlob = function (...all) { done([this.width, this.height]); return make.apply(this, all); };
        document.querySelector("button[data-png]").click();"""
    width, height = driver.execute_async_script(made)
    if width != 1920 or height < 300:
        fail(f"a PNG of {width} x {height}")
    say(f"a picture is saved as a PNG of {width} x {height}")


def board(cluster):
    """The lecture's page: found by words and numbers, moved by a slider, read by everybody."""
    path = pathlib.Path(cluster.work, "board.html")
    cluster.run("board", "--html", str(path))
    driver = browser()
    try:
        driver.get(path.as_uri())
        shown = lambda: len([one for one in driver.find_elements(By.TAG_NAME, "article") if one.is_displayed()])
        page = Page(driver, cluster)
        page.until = lambda what, holds: WebDriverWait(driver, LIMIT_S, poll_frequency=0.1).until(lambda _: holds(), what)
        whole = shown()
        for word in ["8x", "half", "2400", "cache"]:
            driver.find_element(By.ID, "find").clear()
            driver.find_element(By.ID, "find").send_keys(word)
            page.until(f"claims with {word}", lambda: 0 < shown() < whole)
        driver.find_element(By.ID, "find").clear()
        driver.find_element(By.ID, "find").send_keys(" ", Keys.BACKSPACE)
        page.until("all claims", lambda: shown() == whole)
        slider = driver.find_element(By.CSS_SELECTOR, "article input[type=range]")
        slider.send_keys(Keys.ARROW_RIGHT)
        page.until("what has moved", lambda: driver.find_element(By.ID, "moved").is_displayed() and driver.find_element(By.ID, "said").text)
        passed = look(page, "board")
        driver.find_element(By.ID, "back").click()
        page.until("all as it was", lambda: not driver.find_element(By.ID, "moved").is_displayed())
        severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        if severe:
            fail(f"the browser complains of the lecture's page: {severe}")
        say(f"the lecture's page, {whole} claims: found, moved, moved back; {passed} rules of accessibility hold")
    finally:
        driver.quit()


class Stream(http.server.BaseHTTPRequestHandler):
    """The page of a real coordinator, and steps of 72 ranks that nobody runs, as fast as a coordinator tells of them."""

    cluster, ranks, racks = None, 72, 9
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/v1/events":
            with urllib.request.urlopen(self.cluster.url + self.path, timeout=LIMIT_S) as answer:
                body, kind = answer.read(), answer.headers["content-type"]
            self.send_response(200)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        names = [f"rack{rank // 8}-{rank % 8}" for rank in range(self.ranks)]
        try:
            self.tell("cluster", {"version": "0", "address": "", "nodes": [{"name": name, "silent": False} for name in names], "cores": 72, "spare": False})
            for step in range(100_000):
                self.tell("step", self.step(step, names))
                time.sleep(0.15)
        except OSError:
            pass

    def step(self, step, names):
        pairs = [(a, b, 7168 * (1 + (a * 7 + b * 13 + step) % 50)) for a in range(self.ranks) for b in range(self.ranks) if a != b]
        times = [100.0 + rank for rank in range(self.ranks)]
        moved = lambda phase, sent: {"phase": phase, "measured_us": times, "wall_ms": 100.0, "sent_bytes": sent, "frames": len(sent)}
        phases = [moved("dispatch", pairs), moved("expert", []), moved("combine", [(b, a, 2 * sent) for a, b, sent in pairs])]
        return {"run": 1, "step": step, "rack_sizes": [8] * self.racks, "nodes": names, "replays": 0, "phases": phases}

    def tell(self, name, data):
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())


def frames(cluster):
    """The page stays smooth with 72 ranks under way, all pairs of them, for ten seconds."""
    Stream.cluster = cluster
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    driver = browser()
    try:
        driver.set_window_size(1280, 900)
        driver.set_script_timeout(LIMIT_S)
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        page = Page(driver, cluster)
        page.until("a step of 72 ranks", lambda: "measured" in page.text("matrix-caption"))
        measure = """
            const done = arguments[0], deltas = [], first = seen.totals.steps;
            let last = performance.now();
            const begun = last;
            const tick = (now) => {
                deltas.push(now - last);
                last = now;
                if (now - begun < 10000) requestAnimationFrame(tick); else done([deltas.slice(1), seen.totals.steps - first]);
            };
            requestAnimationFrame(tick);"""
        deltas, steps = driver.execute_async_script(measure)
        deltas.sort()
        middle, late = deltas[len(deltas) // 2], deltas[int(0.99 * (len(deltas) - 1))]
        say(f"72 ranks, {steps} steps in 10 s: a frame takes {middle:.0f} ms in the middle, {late:.0f} ms at the 99th percentile, {deltas[-1]:.0f} ms at most")
        if steps < 30 or late >= 100:
            fail("frames of 100 ms and more")
        look(page, "72-ranks")
    finally:
        driver.quit()
        server.shutdown()


def metrics(cluster):
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.node_metrics}/metrics", timeout=LIMIT_S) as answer:
        of_node = answer.read().decode()
    for whose, text in [("the coordinator's", cluster.get("/metrics")), ("a node's", of_node)]:
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=LIMIT_S)
        if checked.returncode != 0:
            fail(f"promtool on {whose} metrics: {checked.stdout}{checked.stderr}")
        say(f"promtool finds nothing in {len(text.splitlines())} lines of {whose} metrics")


def api(cluster):
    command = [f"{sys.prefix}/bin/schemathesis", "run", f"{cluster.url}/v1/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"]
    # An endless stream can't be waited for; guessed words are refused one by one, rightly.
    command += ["--exclude-path", "/v1/events", "--max-examples", "25", "--seed", "1", "--suppress-health-check", "all", "--continue-on-failure"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method,ignored_auth"]
    ran = subprocess.run(command, text=True, capture_output=True, timeout=600, cwd=cluster.work)
    if ran.returncode != 0:
        print(ran.stdout[-6000:])
        fail("schemathesis found something")
    say("schemathesis: " + next((line.strip() for line in ran.stdout.splitlines() if "passed" in line), "no line with what passed"))


def refused(cluster):
    """Oversize, malformed, slow and unauthenticated requests end, with an answer or a closed connection."""
    request = urllib.request.Request(f"{cluster.url}/v1/runs", data=b"{}", method="POST")
    try:
        urllib.request.urlopen(request, timeout=LIMIT_S)
        fail("a run was taken without a token")
    except urllib.error.HTTPError as error:
        assert error.code == 401
    slow = socket.create_connection(("127.0.0.1", cluster.ui), timeout=LIMIT_S)
    slow.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ")
    # Its head has 10 s to arrive.
    answer = slow.recv(1024)
    assert answer == b"" or b" 408" in answer[:16], answer
    slow.close()
    huge = socket.create_connection(("127.0.0.1", cluster.ui), timeout=LIMIT_S)
    huge.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-long: " + b"a" * 200_000 + b"\r\n\r\n")
    answer = huge.recv(1024)
    assert b" 4" in answer[:16] or answer == b"", answer
    huge.close()
    say("slow and huge heads are ended")


def main():
    work = tempfile.mkdtemp(prefix="check-yard-")
    cluster = Cluster(work)
    try:
        by_browser(cluster)
        board(cluster)
        frames(cluster)
        metrics(cluster)
        refused(cluster)
        api(cluster)
    finally:
        cluster.end()
        shutil.rmtree(work, ignore_errors=True)
    say(f"all well; pictures are in {pictures}")


main()
