/** What to try first with the first group, where so many are desired, each with a command line for a shell on the same machine. */
export function thingsToTry(
  url: string,
  group: string,
  desired: number,
): { readonly text: string; readonly command: string }[] {
  const few = Math.floor(desired / 2);
  // With the number, since two of these may be sent within a second.
  const desire = (count: number): string =>
    `curl -X PUT ${url}/desired/${group} -H "Idempotency-Key: ${count}-$(date +%s)" -H "Content-Type: application/json" -d '{"desired":${count}}'`;
  // Of one or none, half is nothing to look at.
  if (few === 0) return [{ text: "Let there be 10:", command: desire(10) }];

  const signal = (name: string, number: number): string =>
    `kill -${name} $(curl -s ${url}/resources/${group}-${Math.min(number, few - 1)} | sed 's/.*"externalId":"\\([0-9]*\\)".*/\\1/')`;
  return [
    {
      text: `Lower what is desired from ${desired} to ${few}. The other workers are asked to end:`,
      command: desire(few),
    },
    { text: "Kill a worker by its id. Another one takes its place:", command: signal("KILL", 3) },
    { text: "Freeze a worker. Once it has been silent for too long, it is replaced:", command: signal("STOP", 1) },
    { text: "Bring the others back:", command: desire(desired) },
  ];
}
