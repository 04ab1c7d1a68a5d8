/**
 * Where the parts of a push go: the nodes of its keys, its users, its rooms, or every comet.
 *
 * Threads: control thread only.
 * Guarantees: one look-up of sessions and one of rooms for a whole batch, at the same time. A key or room that nobody has goes nowhere.
 *   `speed` of a push to all is of the whole cluster: each comet gets its share. Nodes whose sessions and rooms may be missing in
 *   Redis (`unsettled`) get every push for keys, users and rooms besides: each node delivers to whom it has, so nobody has to
 *   wait until they have written them again.
 */
import type {
  ClusterSessions,
  DurableRoomAppender,
  InboxDelivery,
  NodeRef,
  PushCommand,
  PushTarget,
  RoomNodes,
  Session,
} from '../push/index.js';
import { type JobNodes, nodeName } from './job-runner-nodes.js';

export interface RoutedPart {
  readonly node: NodeRef;
  readonly delivery: InboxDelivery;
}

export interface RoutedPush {
  readonly parts: readonly RoutedPart[];
  /** Rooms with history, which take the message themselves. */
  readonly historyRooms: readonly string[];
}

export interface RouterDeps {
  readonly sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'>;
  readonly roomNodes: Pick<RoomNodes, 'nodesOf' | 'sweep'>;
  readonly nodes: JobNodes;
  /** Server ids. Default: none. */
  readonly unsettled?: () => readonly string[];
  readonly appender: DurableRoomAppender | undefined;
}

/** What was looked up for a batch. */
interface Known {
  readonly sessionByKey: ReadonlyMap<string, Session>;
  readonly sessionsByMid: ReadonlyMap<number, readonly Session[]>;
  readonly nodesByRoom: ReadonlyMap<string, readonly NodeRef[]>;
  /** They may have more than was found. */
  readonly unsettled: readonly NodeRef[];
}

/** Names collected per node, in the order in which the nodes came up. */
class ByNode<Name> {
  readonly #byNode = new Map<string, { readonly node: NodeRef; readonly names: Set<Name> }>();

  add(node: NodeRef, name: Name): void {
    const key = nodeName(node);
    const known = this.#byNode.get(key);
    if (known !== undefined) known.names.add(name);
    else this.#byNode.set(key, { node, names: new Set([name]) });
  }

  parts(targetOf: (names: Name[]) => PushTarget): { readonly node: NodeRef; readonly target: PushTarget }[] {
    return [...this.#byNode.values()].map(({ node, names }) => ({ node, target: targetOf([...names]) }));
  }
}

function nodeOf({ serverId, nodeEpoch }: Session): NodeRef {
  return { serverId, nodeEpoch };
}

export class PushRouter {
  readonly #deps: RouterDeps;

  constructor(deps: RouterDeps) {
    this.#deps = deps;
  }

  /**
   * @param isRerouted the pushes were parts for a node that is gone: keys and users may be elsewhere now, its rooms and its
   *   share of a push to all went with it
   * @returns in the order of `commands`. Rejects when Redis does not answer.
   */
  async route(commands: readonly PushCommand[], isRerouted = false): Promise<readonly RoutedPush[]> {
    const known = await this.#lookUp(commands, isRerouted);
    return commands.map((command) => {
      const { target } = command;
      const historyRooms =
        target.kind === 'rooms' && !isRerouted ? target.rooms.filter((room) => this.#keepsHistory(room)) : [];
      const parts = this.#partsOf(target, known, isRerouted).map(({ node, target: part }) => ({
        node,
        delivery: { command, target: part, isRerouted },
      }));
      return { parts, historyRooms };
    });
  }

  /**
   * Parts of pushes for a node that is gone. Keys and users are looked up again; its rooms and its share of a push to all go to
   * its successor, whose members may be the same. What goes to the same server again is the same part and not another one: the
   * former incarnation may have had it already, and the process drops the repeat.
   */
  async reroute(parts: readonly RoutedPart[]): Promise<readonly (readonly RoutedPart[])[]> {
    const routed = await this.route(
      parts.map(({ delivery: { command, target } }) => ({ ...command, target })),
      true,
    );
    return parts.map(({ node, delivery }, index) => {
      const { kind } = delivery.target;
      if (kind === 'keys' || kind === 'mids') {
        return (routed[index]?.parts ?? []).map((part) =>
          part.node.serverId === node.serverId
            ? { ...part, delivery: { ...part.delivery, isRerouted: delivery.isRerouted } }
            : part,
        );
      }
      const successor = this.#deps.nodes.successorOf(node);
      return successor === undefined ? [] : [{ node: successor, delivery }];
    });
  }

  #keepsHistory(room: string): boolean {
    return this.#deps.appender?.keepsHistory(room) ?? false;
  }

  async #lookUp(commands: readonly PushCommand[], isRerouted: boolean): Promise<Known> {
    const keys = new Set<string>();
    const mids = new Set<number>();
    const rooms = new Set<string>();
    for (const { target } of commands) {
      if (target.kind === 'keys') for (const key of target.keys) keys.add(key);
      else if (target.kind === 'mids') for (const mid of target.mids) mids.add(mid);
      else if (target.kind === 'rooms' && !isRerouted) for (const room of target.rooms) rooms.add(room);
    }
    const plainRooms = [...rooms].filter((room) => !this.#keepsHistory(room));
    const { sessions, roomNodes, nodes } = this.#deps;
    const serverIds = this.#deps.unsettled?.() ?? [];
    const unsettled =
      serverIds.length === 0 ? [] : nodes.withRole('comet').filter(({ serverId }) => serverIds.includes(serverId));
    const [keySessions, midSessions, nodeLists] = await Promise.all([
      keys.size === 0 ? [] : sessions.byKeys([...keys]),
      mids.size === 0 ? [] : sessions.byMids([...mids]),
      plainRooms.length === 0 ? [] : roomNodes.nodesOf(plainRooms),
    ]);
    const isHeld = (session: Session | undefined): session is Session =>
      session !== undefined && !nodes.isDead(nodeOf(session));
    const nodesByRoom = new Map<string, readonly NodeRef[]>();
    for (const [index, room] of plainRooms.entries()) {
      const all = nodeLists[index] ?? [];
      const dead = all.filter((node) => nodes.isDead(node));
      nodesByRoom.set(room, dead.length === 0 ? all : all.filter((node) => !dead.includes(node)));
      roomNodes.sweep(room, dead);
    }
    const sessionByKey = new Map<string, Session>();
    for (const session of keySessions) if (isHeld(session)) sessionByKey.set(session.key, session);
    const sessionsByMid = new Map<number, Session[]>();
    for (const session of midSessions) {
      if (!isHeld(session)) continue;
      const known = sessionsByMid.get(session.mid);
      if (known === undefined) sessionsByMid.set(session.mid, [session]);
      else known.push(session);
    }
    return { sessionByKey, sessionsByMid, nodesByRoom, unsettled };
  }

  #partsOf(
    target: PushTarget,
    known: Known,
    isRerouted: boolean,
  ): { readonly node: NodeRef; readonly target: PushTarget }[] {
    switch (target.kind) {
      case 'keys': {
        const byNode = new ByNode<string>();
        for (const key of target.keys) {
          const session = known.sessionByKey.get(key);
          if (session !== undefined) byNode.add(nodeOf(session), key);
          for (const node of known.unsettled) byNode.add(node, key);
        }
        return byNode.parts((keys) => ({ ...target, keys }));
      }
      case 'mids': {
        const byNode = new ByNode<number>();
        for (const mid of target.mids) {
          for (const session of known.sessionsByMid.get(mid) ?? []) byNode.add(nodeOf(session), mid);
          for (const node of known.unsettled) byNode.add(node, mid);
        }
        return byNode.parts((mids) => ({ kind: 'mids', mids }));
      }
      case 'rooms': {
        const byNode = new ByNode<string>();
        for (const room of target.rooms) {
          const found = known.nodesByRoom.get(room);
          // undefined: it keeps a history, or its node is gone.
          if (found === undefined) continue;
          for (const node of found) byNode.add(node, room);
          for (const node of known.unsettled) byNode.add(node, room);
        }
        return byNode.parts((rooms) => ({ kind: 'rooms', rooms }));
      }
      case 'all': {
        const comets = isRerouted ? [] : this.#deps.nodes.withRole('comet');
        const speedPerSec = Math.ceil(target.speedPerSec / Math.max(1, comets.length));
        return comets.map(({ serverId, nodeEpoch }) => ({
          node: { serverId, nodeEpoch },
          target: { kind: 'all', speedPerSec },
        }));
      }
    }
  }
}
