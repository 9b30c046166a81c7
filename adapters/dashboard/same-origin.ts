/**
 * Whether a request comes from the page itself, or from no browser at all. Browsers say where a request comes from in `Sec-Fetch-Site`
 * (W3C Fetch Metadata), where they trust the connection, and in `Origin` (RFC 6454) with every request that is no GET or HEAD; pages
 * can set neither.
 *
 * Proxies may change the scheme, so that an origin is compared by its host and port.
 */
export function isOfSameOrigin({ headers, url }: Request): boolean {
  const site = headers.get("sec-fetch-site");
  // `none`: somebody typed the address.
  if (site !== null) return site === "same-origin" || site === "none";
  const origin = headers.get("origin");
  return origin === null || hostOf(origin) === (headers.get("host") ?? hostOf(url));
}

function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined;
}
