"""A server on 127.0.0.1 for tests of downloads, which can be told to misbehave."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What the server holds, how it misbehaves, and what it was asked."""

    def __init__(self):
        self.files, self.ranges, self.requests = {}, True, []
        self.break_after = []  # for each of the next requests: bytes sent before the line breaks
        self.errors = []  # for each of the next requests: the status that is sent instead
        self.go_on = threading.Event()  # while it is not set, only the first half is sent
        self.go_on.set()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.go_on.set()
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                server.requests.append((self.path[1:], asked))
                data = server.files.get(self.path[1:].partition("?")[0])
                if server.errors:
                    self.send_error(server.errors.pop(0))
                    return
                start = (
                    int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
                )
                if data is None or start >= len(data):
                    self.send_error(404 if data is None else 416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                stop = server.break_after.pop(0) if server.break_after else len(data)
                half = start if server.go_on.is_set() else (start + len(data)) // 2
                self.wfile.write(data[start : min(half, start + stop)])
                server.go_on.wait(60)
                self.wfile.write(data[half : start + stop])

            def log_message(self, *args):
                pass

        return Handler
