/** The application of the door tests: answers with what it was sent, pushes it back, says where it runs, or kills its bucket. */
const behaviours = {
  2000: (_agent, _payload, server) => String(server.bucket()),
  2003: () =>
    void setTimeout(() => {
      throw new Error('thrown in a detached timer');
    }, 0),
  2100: (_agent, payload) => payload,
  2101: (agent, payload) => {
    agent.push(payload, 1100);
    return 'pushed';
  },
  2102: async (_agent, payload) => {
    await undefined;
    return payload;
  },
};

export function app(server) {
  server.setMessageListener({
    receive: (agent, payload, { op }) => behaviours[op]?.(agent, payload, server),
  });
}
