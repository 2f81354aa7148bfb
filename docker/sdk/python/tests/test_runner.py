"""The runner against the broker's side of the socket."""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from textwrap import dedent

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake_broker import Zygote  # noqa: E402  (beside this file)

INTERPRETER = os.environ.get("RUMI_TEST_PYTHON") or sys.executable
LANDLOCK = subprocess.run(
    [INTERPRETER, "-c", "import sys; sys.path.insert(0, sys.argv[1]); from rumi._runner import kernel; print(kernel.landlock_abi())",
     os.path.dirname(os.path.dirname(os.path.abspath(__file__)))], stdout=subprocess.PIPE, check=True,
).stdout.decode().strip()


def run_body(body):
    return "def run(args):\n" + "".join("    %s\n" % line for line in dedent(body).strip().splitlines())


class RunnerTest(unittest.TestCase):
    def setUp(self):
        self.zygote = Zygote(INTERPRETER)

    def tearDown(self):
        self.zygote.close()
        self.assertEqual(self.zygote.output, "", "the zygote itself printed something")

    def run_tool(self, body, args=None, head="", **limits):
        return self.zygote.run(dedent(head) + "\n" + run_body(body), args, **limits)


class Results(RunnerTest):
    def test_wrapping(self):
        cases = [
            ("return {'ok': True, 'data': 1}", {"ok": True, "data": 1}),
            ("return {'ok': False, 'error': {'message': 'm', 'type': 't'}}", {"ok": False, "error": {"message": "m", "type": "t"}}),
            ("return {'ok': 1, 'data': 2}", {"ok": True, "data": {"ok": 1, "data": 2}}),
            ("return {'ok': True}", {"ok": True, "data": {"ok": True}}),
            ("return None", {"ok": True, "data": None}),
            ("return [1, 'ä\\u20ac', 1.5, (2, 3)]", {"ok": True, "data": [1, "ä\u20ac", 1.5, [2, 3]]}),
            ("return args['x']", {"ok": True, "data": {"y": [1]}}),
        ]
        for body, expected in cases:
            with self.subTest(body):
                frame = self.run_tool(body, {"x": {"y": [1]}})
                self.assertEqual(frame, {"type": "result", "result": expected, "stdout": "", "stderr": "", "truncated": False})

    def test_exceptions(self):
        cases = [
            ("raise ValueError('no good')", "ValueError", "no good"),
            ("raise ValueError", "ValueError", "ValueError"),
            ("import sys; sys.exit(3)", "SystemExit", "3"),
            ("raise KeyboardInterrupt('x')", "KeyboardInterrupt", "x"),
            ("raise type('Mine', (BaseException,), {'__str__': lambda self: 1 / 0})()", "Mine", "(its message cannot be shown: ZeroDivisionError)"),
            ("return run(args)", "RecursionError", None),
            ("raise ValueError('\\ud800')", "ValueError", "?"),
        ]
        for body, kind, message in cases:
            with self.subTest(body):
                frame = self.run_tool(body)
                self.assertFalse(frame["result"]["ok"])
                self.assertEqual(frame["result"]["error"]["type"], kind)
                if message is not None:
                    self.assertEqual(frame["result"]["error"]["message"], message)
                self.assertIn(kind, frame["stderr"])
                self.assertNotIn("_runner", frame["stderr"])

    def test_a_long_message_is_cut(self):
        frame = self.run_tool("raise ValueError('ä' * 10 ** 6)", output_bytes=1000)
        self.assertLess(len(frame["result"]["error"]["message"]), 20000)

    def test_denied_keeps_reason_and_record(self):
        frame = self.run_tool("import rumi\nraise rumi.Denied('permission_denied', 'no_grant', 'Not granted', 'r-1')")
        error = frame["result"]["error"]
        self.assertEqual((error["type"], error["reason"], error["record"]), ("Denied", "no_grant", "r-1"))

    def test_what_json_cannot_hold(self):
        bodies = [
            "return {1, 2}", "return float('nan')", "return [float('inf')]", "return {1: 2}", "return {'a': [{None: 1}]}",
            "return object()", "return b'x'", "return '\\ud800'", "a = []; a.append(a); return a",
            "a = {}\na['a'] = a\nreturn a", "a = []\nfor _ in range(200): a = [a]\nreturn a",
            "a = []\nfor _ in range(100000): a = [a]\nreturn a", "return {'ok': True, 'data': {2: 3}}",
            "import sys\nsys.setrecursionlimit(10 ** 9)\na = []\nfor _ in range(10 ** 6): a = [a]\nreturn a",
        ]
        for body in bodies:
            with self.subTest(body):
                error = self.run_tool(body)["result"]["error"]
                self.assertEqual(error["type"], "unserializable", error)

    def test_a_result_over_the_limit(self):
        error = self.run_tool("return 'x' * (17 << 20)")["result"]["error"]
        self.assertEqual(error["type"], "result_too_large")

    def test_output_gives_way_to_a_large_result(self):
        frame = self.run_tool("print('\\0' * (1 << 20))\nreturn 'x' * (12 << 20)")
        self.assertEqual(len(frame["result"]["data"]), 12 << 20)
        self.assertTrue(frame["truncated"])
        self.assertEqual(len(frame["stdout"]), 65536)


class Loading(RunnerTest):
    def broken(self, source, name="probe_tool.py"):
        spare = self.zygote.spare()
        try:
            frame = spare.prepare(self.zygote.tool(source, name))
        finally:
            spare.close()
        self.assertEqual(frame["type"], "broken")
        return frame

    def test_what_cannot_be_loaded(self):
        cases = [
            ("def run(args:", "SyntaxError"), ("x = 1", "AttributeError"), ("run = 1", "AttributeError"),
            ("import sys; sys.exit(1)", "SystemExit"), ("1 / 0", "ZeroDivisionError"), ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ]
        for source, kind in cases:
            with self.subTest(source):
                self.assertEqual(self.broken(source)["error"]["type"], kind)

    def test_a_missing_package_names_the_remedy(self):
        error = self.broken("import no_such_package")["error"]
        self.assertEqual(error["type"], "ModuleNotFoundError")
        self.assertIn("requirements.txt", error["message"])

    def test_a_missing_entry(self):
        spare = self.zygote.spare()
        self.assertEqual(spare.prepare("/no/such/tool.py")["error"]["type"], "FileNotFoundError")
        spare.close()

    def test_modules_beside_the_entry_come_first(self):
        self.zygote.tool("VALUE = 'of the pack'", "colorsys.py")
        frame = self.run_tool("import colorsys\nreturn [colorsys.VALUE, __name__, args]", {"a": 1})
        self.assertEqual(frame["result"]["data"], ["of the pack", "probe_tool", {"a": 1}])

    def test_a_tool_named_like_a_module_in_use(self):
        spare = self.zygote.spare()
        self.assertEqual(spare.prepare(self.zygote.tool("def run(args): return __name__", "json.py"))["type"], "ready")
        self.assertEqual(spare.call({})["result"]["data"], "rumi_tool_json")
        spare.close()

    def test_output_of_the_loading_is_shown(self):
        self.assertEqual(self.broken("print('loading'); 1 / 0")["stdout"], "loading\n")
        self.assertEqual(self.run_tool("print('running')", head="print('loading')")["stdout"], "loading\nrunning\n")


class Output(RunnerTest):
    def test_both_streams_from_everywhere(self):
        frame = self.run_tool(
            """
            import ctypes, os, subprocess, sys
            print("print"); print("error", file=sys.stderr); sys.stdout.flush(); sys.stderr.flush()
            os.write(1, b"write\\n")
            subprocess.check_call(["/bin/sh", "-c", "echo child; echo wrong >&2"])
            libc = ctypes.CDLL(None)
            libc.printf(b"from C\\n")
            """
        )
        self.assertEqual(frame["stdout"], "print\nwrite\nchild\nfrom C\n")
        self.assertEqual(frame["stderr"], "error\nwrong\n")
        self.assertFalse(frame["truncated"])

    def test_stdin_is_empty(self):
        self.assertEqual(self.run_tool("import sys, os\nreturn [sys.stdin.read(), len(os.read(0, 10))]")["result"]["data"], ["", 0])

    def test_the_limit_is_exact(self):
        for count, truncated in ((1000, False), (1001, True)):
            frame = self.run_tool("import os\nos.write(1, b'x' * %d)" % count, output_bytes=1000)
            self.assertEqual((len(frame["stdout"]), frame["truncated"]), (1000, truncated))

    def test_gigabytes(self):
        frame = self.run_tool(
            """
            import os, resource
            block = b"x" * (1 << 20)
            for _ in range(2048):
                os.write(1, block)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            """,
            output_bytes=100000,
        )
        self.assertEqual(len(frame["stdout"]), 100000)
        self.assertTrue(frame["truncated"])
        self.assertLess(frame["result"]["data"], 60 * 1024, "KiB of memory")

    def test_children_that_never_stop_printing(self):
        frame = self.run_tool(
            """
            import subprocess, time
            args["child"] = subprocess.Popen(["yes"]).pid
            time.sleep(0.1)
            return args["child"]
            """,
            output_bytes=1000,
        )
        os.kill(frame["result"]["data"], signal.SIGKILL)
        self.assertTrue(frame["truncated"])

    def test_not_utf8_and_replaced_streams(self):
        frame = self.run_tool(
            """
            import os, sys
            os.write(1, b"\\xff\\n")
            class Odd:
                def flush(self): raise SystemExit
                def write(self, text): raise KeyboardInterrupt
            sys.stdout = sys.stderr = Odd()
            return 1
            """
        )
        self.assertEqual((frame["stdout"], frame["result"]["data"]), ("\ufffd\n", 1))

    def test_closed_streams(self):
        frame = self.run_tool("import os, sys\nsys.stdout.close()\nos.close(2)\nreturn 1")
        self.assertEqual(frame["result"], {"ok": True, "data": 1})


class Isolation(RunnerTest):
    def test_nothing_stays_from_call_to_call(self):
        head = "import os, threading\nCOUNT = []"
        body = """
            COUNT.append(1)
            os.environ["LEFT"] = "1"
            os.open("/dev/null", os.O_RDONLY)
            threading.Thread(target=__import__("time").sleep, args=(60,), daemon=True).start()
            return [len(COUNT), sorted(os.environ), sorted(int(fd) for fd in os.listdir("/proc/self/fd")), os.getpid()]
            """
        first, second = (self.run_tool(body, head=head)["result"]["data"] for _ in range(2))
        self.assertEqual(first[:3], second[:3])
        self.assertNotEqual(first[3], second[3])

    def test_no_code_of_the_pack_in_the_zygote(self):
        spare = self.zygote.spare()
        with open("/proc/%d/cmdline" % self.zygote.process.pid) as file:
            self.assertIn("\0-S\0", file.read())
        time.sleep(0.05)
        # Nothing but reading until the broker speaks.
        with open("/proc/%d/wchan" % spare.pid) as file:
            self.assertNotEqual(file.read(), "0")
        spare.close()

    def test_a_pth_file_runs_in_the_spare_only(self):
        with tempfile.TemporaryDirectory() as folder:
            venv = os.path.join(folder, "venv")
            subprocess.run([INTERPRETER, "-m", "venv", "--without-pip", venv], check=True)
            python = os.path.join(venv, "bin", "python")
            packages = [p for p, _, _ in os.walk(venv) if p.endswith("site-packages")][0]
            marks = os.path.join(folder, "marks")
            with open(os.path.join(packages, "mark.pth"), "w") as file:
                file.write("import os; open(%r, 'a').write('%%d\\n' %% os.getpid())\n" % marks)
            os.mkdir(os.path.join(folder, "more"))
            with open(os.path.join(packages, "paths.pth"), "w") as file:
                file.write(os.path.join(folder, "more") + "\n")
            with open(os.path.join(packages, "sitecustomize.py"), "w") as file:
                file.write("import os; open(%r, 'a').write('%%d\n' %% os.getpid())\n" % marks)
            with open(os.path.join(folder, "more", "third_party.py"), "w") as file:
                file.write("VALUE = 7\n")
            zygote = Zygote(python)
            try:
                spare = zygote.spare()
                time.sleep(0.1)
                self.assertFalse(os.path.exists(marks), "code of the pack ran before it was asked for")
                tool = zygote.tool("import sys, third_party, rumi\ndef run(args): return [third_party.VALUE, sys.prefix]")
                self.assertEqual(spare.prepare(tool)["type"], "ready")
                self.assertEqual(spare.call({})["result"]["data"], [7, venv])
                with open(marks) as file:
                    self.assertEqual(set(file.read().split()), {str(spare.pid)})
                spare.close()
            finally:
                zygote.close()

    def test_a_forked_child_that_runs_on_says_nothing(self):
        frame = self.run_tool("import os\nreturn 'child' if os.fork() == 0 else (os.wait(), 'parent')[1]")
        self.assertEqual(frame["result"]["data"], "parent")

    def test_the_channel_is_out_of_reach(self):
        frame = self.run_tool(
            """
            import os
            for fd in range(3, 64):
                try: os.write(fd, b"garbage")
                except OSError: pass
            return [max(int(fd) for fd in os.listdir("/proc/self/fd")), os.sysconf("SC_OPEN_MAX")]
            """,
            nofile=512,
        )
        self.assertEqual(frame["result"]["data"], [504, 512])

    def test_children_do_not_inherit_the_channel(self):
        frame = self.run_tool(
            "import subprocess\nreturn subprocess.check_output(['ls', '/proc/self/fd'], close_fds=False).decode().split()"
        )
        self.assertLessEqual({int(fd) for fd in frame["result"]["data"]}, {0, 1, 2, 3})

    def test_a_tool_that_closes_everything_ends_the_connection(self):
        spare = self.zygote.spare()
        spare.prepare(self.zygote.tool(run_body(
            """
            import os
            os.closerange(3, 4096)
            for _ in range(2000):
                try: os.open("/dev/null", os.O_WRONLY)
                except OSError: break
            """)))
        with self.assertRaises(EOFError):
            spare.call({})
        spare.close()

    def test_what_a_tool_leaves_armed_does_not_strike(self):
        frame = self.run_tool(
            """
            import atexit, os, signal, sys, threading
            class Hang:
                def __del__(self):
                    while True: pass
            sys.kept = Hang()
            atexit.register(lambda: os.write(1, b"atexit"))
            threading.Thread(target=threading.Event().wait).start()
            result = list(range(1500000))
            signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
            # Strikes while the result is being written as JSON.
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.001)
            sys.settrace(lambda *_: 1 / 0)
            return result
            """
        )
        self.assertEqual(len(frame["result"].get("data", ())), 1500000, frame["result"].get("error"))

    def test_what_was_printed_is_said_when_nobody_waits_for_an_answer_any_more(self):
        for busy in ("while True: pass", "time.sleep(60)", "while True: print('x' * 70000)"):
            spare = self.zygote.spare()
            spare.prepare(self.zygote.tool(run_body(
                """
                import os, subprocess, sys, time
                print("in a buffer")
                subprocess.check_call(["sh", "-c", "echo from a child >&2"])
                os.mkdir(args["begun"])
                %s
                """ % busy)), output_bytes=400000)
            begun = os.path.join(self.zygote.folder.name, "begun")
            spare.send({"type": "call", "invocation": "1", "args": {"begun": begun}})
            deadline = time.monotonic() + 20
            while not os.path.exists(begun):
                self.assertLess(time.monotonic(), deadline, "the tool does not begin")
                time.sleep(0.01)
            os.rmdir(begun)
            spare.connection.shutdown(socket.SHUT_WR)
            frame = spare.receive()
            self.assertEqual(frame["result"]["ok"], False, busy)
            self.assertTrue(frame["stdout"].startswith("in a buffer\n"), busy)
            self.assertEqual(frame["stderr"], "from a child\n", busy)
            os.kill(spare.pid, signal.SIGKILL)
            spare.close()

    def test_it_ends_when_the_broker_hangs_up(self):
        spares = [self.zygote.spare() for _ in range(3)]
        spares[1].prepare(self.zygote.tool("def run(args): return 1"))
        spares[2].prepare(self.zygote.tool("def run(args): return 1"))
        spares[2].call({})
        for spare in spares:
            spare.close()
            deadline = time.monotonic() + 5
            while os.path.exists("/proc/%d" % spare.pid):
                self.assertLess(time.monotonic(), deadline, "the spare is still there, or was not reaped")
                time.sleep(0.01)

    def test_limits_of_the_process(self):
        frame = self.run_tool("import resource as r\nreturn [r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE)]", nofile=100)
        self.assertEqual(frame["result"]["data"], [[0, 0], [100, 100]])

    @unittest.skipIf(int(LANDLOCK) < 6, "this kernel has no Landlock scopes")
    def test_signals_beyond_the_call_are_refused(self):
        frame = self.run_tool(
            """
            import os, signal, subprocess
            own = subprocess.Popen(["sleep", "60"])
            own.kill(); own.wait()
            refused = []
            for target in (os.getppid(), args["broker"], 1):
                try: os.kill(target, signal.SIGKILL)
                except PermissionError: refused.append(target)
            os.kill(0, signal.SIGCONT)
            return len(refused)
            """,
            {"broker": os.getpid()},
        )
        self.assertEqual(frame["result"]["data"], 3)

    def test_the_warm_memory_is_closed(self):
        spare = self.zygote.spare()
        with open("/proc/%d/status" % self.zygote.process.pid) as file:
            self.assertIn("rumi-zygote", file.read())
        for pid in (self.zygote.process.pid, spare.pid):
            self.assertEqual(os.stat("/proc/%d/mem" % pid).st_uid, 0)
        spare.close()


class Reports(unittest.TestCase):
    def test_a_broker_that_is_gone(self):
        zygote = Zygote(INTERPRETER)
        os.unlink(zygote.path)
        zygote.ask()
        text = b""
        while text.count(b"\n") < 3:
            text += os.read(zygote.report, 4096)
        zygote.close()
        self.assertRegex(text.decode(), "^ready\n(.*\n)*forked [0-9]+\n")
        self.assertRegex(text.decode(), "failed a spare cannot reach the broker at `.*`: .*No such file")

    def test_a_refused_upgrade(self):
        zygote = Zygote(INTERPRETER)
        zygote.ask()
        connection = zygote.listener.accept()[0]
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        text = b""
        while b"failed" not in text:
            text += os.read(zygote.report, 4096)
        self.assertIn(b"404 Not Found", text)
        connection.close()
        zygote.close()

    def test_frames_over_the_limit_end_the_spare(self):
        zygote = Zygote(INTERPRETER)
        spare = zygote.spare()
        spare.connection.sendall(struct.pack(">I", 0xFFFFFFFF))
        self.assertEqual(spare.connection.recv(1), b"")
        spare.close()
        zygote.close()


if __name__ == "__main__":
    unittest.main()
