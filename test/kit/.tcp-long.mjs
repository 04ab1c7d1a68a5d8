// test/kit/goim-tcp-client.ts
import { connect } from "node:net";
var HEADER_BYTES = 16;
function tcpPacket(op, seq, body = "", ver = 1) {
  const bodyBytes = Buffer.from(body);
  const packet = Buffer.alloc(HEADER_BYTES + bodyBytes.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt16BE(HEADER_BYTES, 4);
  packet.writeInt16BE(ver, 6);
  packet.writeInt32BE(op, 8);
  packet.writeInt32BE(seq, 12);
  bodyBytes.copy(packet, HEADER_BYTES);
  return packet;
}
var AUTH_OP = 7;
var AUTH_REPLY_OP = 8;
var HEARTBEAT_OP = 2;
var HEARTBEAT_REPLY_OP = 3;
var HEARTBEAT_MS = 24e4;
var READ_DEADLINE_MS = 3e5;
var GoimBenchClient = class {
  /** Packets that are neither auth nor heartbeat reply: its `down`. */
  downCount = 0;
  heartbeatReplyCount = 0;
  /** Bodies of what it counted. */
  bodies = [];
  /** Undefined while it runs; why it ended afterwards. */
  ending;
  #socket;
  #heartbeatMs;
  #kept = Buffer.alloc(0);
  #isAuthenticated = false;
  #heartbeats;
  #deadline;
  /** @param heartbeatMs shorter than goim's 240 s where a test cannot wait for it; the deadline shrinks with it */
  constructor(port, mid, heartbeatMs = HEARTBEAT_MS) {
    this.#heartbeatMs = heartbeatMs;
    this.#socket = connect({ host: "127.0.0.1", port });
    this.#socket.on("data", (chunk) => this.#read(chunk));
    this.#socket.on("close", () => this.#end("closed by the server"));
    this.#socket.on("error", (error) => this.#end(error.message));
    const token = { mid, key: "", room_id: "test://1", platform: "ios", accepts: [1e3, 1001, 1002] };
    this.#socket.write(tcpPacket(AUTH_OP, 0, JSON.stringify(token), 1));
  }
  stop() {
    this.#end("stopped");
  }
  #heartbeat() {
    this.#socket.write(tcpPacket(HEARTBEAT_OP, 1, "", 0));
  }
  #read(chunk) {
    this.#kept = Buffer.concat([this.#kept, chunk]);
    while (this.#kept.length >= HEADER_BYTES) {
      const packetBytes = this.#kept.readInt32BE(0);
      if (packetBytes < HEADER_BYTES || this.#kept.readInt16BE(4) !== HEADER_BYTES) {
        this.#end("no packet");
        return;
      }
      if (this.#kept.length < packetBytes) return;
      const op = this.#kept.readInt32BE(8);
      const body = this.#kept.subarray(HEADER_BYTES, packetBytes);
      this.#kept = this.#kept.subarray(packetBytes);
      this.#take(op, body);
    }
  }
  #take(op, body) {
    if (op === AUTH_REPLY_OP && !this.#isAuthenticated) {
      this.#isAuthenticated = true;
      this.#heartbeat();
      this.#heartbeats = setInterval(() => this.#heartbeat(), this.#heartbeatMs);
    } else if (op === HEARTBEAT_REPLY_OP) {
      this.heartbeatReplyCount += 1;
      clearTimeout(this.#deadline);
      const deadlineMs = READ_DEADLINE_MS * this.#heartbeatMs / HEARTBEAT_MS;
      this.#deadline = setTimeout(() => this.#end("read deadline"), deadlineMs);
    } else {
      this.downCount += 1;
      this.bodies.push(body.toString());
    }
  }
  #end(reason) {
    this.ending ??= reason;
    clearInterval(this.#heartbeats);
    clearTimeout(this.#deadline);
    this.#socket.destroy();
  }
};

// test/kit/halley-process.ts
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
var MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
var START_DEADLINE_MS = 2e4;
async function startHalley(options = {}) {
  const dataDir = options.dataDir ?? await mkdtemp(join(tmpdir(), "halley-test-"));
  const given = options.args ?? [];
  const args = [MAIN, "--data-dir", dataDir, ...given];
  for (const [flag, value] of [
    ["--ws-port", "0"],
    ["--tcp-port", "0"],
    ["--http-port", "0"],
    ["--buckets", "2"]
  ]) {
    if (!given.includes(flag)) args.push(flag, value);
  }
  const child = spawn(process.execPath, args, {
    env: { ...cleanEnv(), ...options.env },
    stdio: ["ignore", "pipe", "pipe"]
  });
  let output = "";
  const exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      if (options.dataDir === void 0) void rm(dataDir, { recursive: true, force: true });
      resolve(code ?? signal ?? "unknown");
    });
  });
  const ready = new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`halley was not ready within ${START_DEADLINE_MS} ms:
${output}`)),
      START_DEADLINE_MS
    );
    const read = (chunk) => {
      output += chunk.toString();
      const ws = /WebSocket +(ws:\S+)/.exec(output)?.[1];
      const tcp = /TCP +(tcp:\S+)/.exec(output)?.[1];
      const http = /HTTP API +(http:\S+)/.exec(output)?.[1];
      if (ws === void 0 || tcp === void 0 || http === void 0) return;
      clearTimeout(timer);
      resolve({ wsUrl: ws, tcpUrl: tcp, httpUrl: http.replace(/\/$/, "") });
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void exited.then((code) => {
      clearTimeout(timer);
      reject(new Error(`halley ended with ${code} before it was ready:
${output}`));
    });
  });
  const { wsUrl, tcpUrl, httpUrl } = await ready;
  return {
    wsUrl,
    wsPort: Number(new URL(wsUrl).port),
    tcpPort: Number(new URL(tcpUrl).port),
    httpUrl,
    httpPort: Number(new URL(httpUrl).port),
    pid: child.pid ?? 0,
    child,
    output: () => output,
    exited,
    stop: (signal = "SIGINT") => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return exited;
    }
  };
}
function cleanEnv() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HALLEY_")));
}

// ../../../tmp/tcp-long.ts
var h = await startHalley({ args: ["--buckets", "2"] });
var clients = Array.from({ length: 50 }, (_, i) => new GoimBenchClient(h.tcpPort, i + 1));
await new Promise((r) => setTimeout(r, 2e3));
var pushed = 0;
var start = Date.now();
while (Date.now() - start < 33e4) {
  await fetch(`${h.httpUrl}/goim/push/room?operation=1000&type=test&room=1`, { method: "POST", body: `{"test":${pushed}}` });
  pushed++;
  await new Promise((r) => setTimeout(r, 200));
}
await new Promise((r) => setTimeout(r, 1500));
console.log(JSON.stringify({ seconds: (Date.now() - start) / 1e3, pushed, down: [Math.min(...clients.map((c) => c.downCount)), Math.max(...clients.map((c) => c.downCount))], heartbeats: [...new Set(clients.map((c) => c.heartbeatReplyCount))], endings: [...new Set(clients.map((c) => c.ending))] }));
for (const c of clients) c.stop();
console.log("exit", await h.stop());
process.exit(0);
