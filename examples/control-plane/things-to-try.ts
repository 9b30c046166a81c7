/** What to try first with the first group, each with a command line for a shell on the same machine. */
export function thingsToTry(url: string, group: string): { readonly text: string; readonly command: string }[] {
  const desire = (count: number): string =>
    `curl -X PUT ${url}/desired/${group} -H "Idempotency-Key: $(date +%s)" -H "Content-Type: application/json" -d '{"desired":${count}}'`;
  const signal = (name: string, id: string): string =>
    `kill -${name} $(curl -s ${url}/resources/${id} | sed 's/.*"externalId":"\\([0-9]*\\)".*/\\1/')`;
  return [
    { text: "Lower what is desired from 10 to 5. Five workers are asked to end:", command: desire(5) },
    { text: "Kill a worker by its id. Another one takes its place:", command: signal("KILL", `${group}-3`) },
    {
      text: "Freeze a worker. Once it has been silent for too long, it is replaced:",
      command: signal("STOP", `${group}-1`),
    },
    { text: "Bring the others back:", command: desire(10) },
  ];
}
