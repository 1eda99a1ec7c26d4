"""What sticks out of a page at the width of a screen and of a telephone, as a browser lays the page out.

The pages are shown one after another in a frame of the wanted width, served on this machine; a script in the frame's parent
measures each and posts what it found.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

__all__ = ["WIDTHS", "browser", "overflows"]

WIDTHS = (1280, 400)  # pixels of a small screen and of a telephone
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE = 120.0  # seconds for one page, on a machine that does other things as well
_RUNNER = """<!doctype html><meta charset="utf-8"><body style="margin:0"><script>
const clipped = e => {  // whether something around it scrolls or cuts it off: then it moves nothing
  for (let p = e.parentElement; p && p.tagName != "BODY"; p = p.parentElement)
    if (getComputedStyle(p).overflowX != "visible") return true;
  return false;
};
const measure = page => {
  const root = page.documentElement, width = root.clientWidth, found = [];
  if (root.scrollWidth > width) found.push(`the page is ${root.scrollWidth} pixels wide`);
  for (const e of page.querySelectorAll("article *, main *")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > width + 1 && !clipped(e))
      found.push(`${e.tagName} ends at ${Math.round(box.right)}: ${(e.textContent || "").trim().slice(0, 60)}`);
  }
  return found.slice(0, 3);
};
(async () => {
  for (const path of PATHS) {
    const frame = document.createElement("iframe");
    frame.style = "border:0;height:900px";
    for (const width of WIDTHS) {
      frame.style.width = `${width}px`;
      if (!frame.isConnected)
        await new Promise(done => { frame.onload = done; frame.src = "/" + path; document.body.append(frame); });
      await frame.contentDocument.fonts.ready;
      await fetch("/found", {method: "POST", body: JSON.stringify([path, width, measure(frame.contentDocument)])});
    }
    frame.remove();
  }
})().catch(error => fetch("/found", {method: "POST", body: JSON.stringify(["", 0, [String(error)]])}));
</script>"""


def browser() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def overflows(site: Path, paths: Sequence[str], program: str, profile: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Each page at each width with the first few things that end beyond it: (path, width, what)."""
    said: queue.Queue[tuple[str, int, list[str]]] = queue.Queue()
    runner = _RUNNER.replace("WIDTHS", json.dumps(WIDTHS)).replace("PATHS", json.dumps(list(paths)))

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/runner":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(runner.encode())

        def do_POST(self) -> None:
            said.put(tuple(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--window-size=1400,1000"]
        address = f"http://127.0.0.1:{server.server_port}/runner"
        process = subprocess.Popen(
            [program, *options, "--no-first-run", "--remote-debugging-port=0", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(len(paths) * len(WIDTHS)):
                yield said.get(timeout=_PATIENCE)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
