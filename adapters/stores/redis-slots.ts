const SLOTS = 16_384;
const CRC16_XMODEM = 0x1021;

/** The slot of a cluster that a key is in: CRC-16/XMODEM of its hash tag (Redis Cluster specification, "Hash tags"). */
export function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(hashTagOf(key))) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? CRC16_XMODEM : 0)) & 0xffff;
  }
  return crc % SLOTS;
}

/** What is between the first `{` and the first `}` behind it, unless that is nothing. */
function hashTagOf(key: string): string {
  const from = key.indexOf("{") + 1;
  const to = from === 0 ? -1 : key.indexOf("}", from);
  return to > from ? key.slice(from, to) : key;
}
