/** What a file system is to a ledger. */
export type FileSystemKind =
  | { readonly kind: "local" | "network" | "volatile" | "layer"; readonly name: string }
  | { readonly kind: "unknown"; readonly type: number };

/** The numbers of `statfs(2)`, as in its manual page and linux/magic.h. */
const KINDS: ReadonlyMap<number, FileSystemKind> = new Map([
  ...kinds("network", {
    NFS: 0x6969,
    SMB: 0x517b,
    CIFS: 0xff534d42,
    SMB2: 0xfe534d42,
    "9P": 0x01021997,
    AFS: 0x5346414f,
    Ceph: 0x00c36400,
    Coda: 0x73757245,
    Lustre: 0x0bd00bd0,
    GFS2: 0x01161970,
    OCFS2: 0x7461636f,
    virtiofs: 0x6a656a63,
    VirtualBox: 0x786f4256,
  }),
  ...kinds("volatile", { tmpfs: 0x01021994, ramfs: 0x858458f6 }),
  ...kinds("layer", { overlayfs: 0x794c7630, aufs: 0x61756673 }),
  ...kinds("local", {
    ext4: 0xef53,
    XFS: 0x58465342,
    Btrfs: 0x9123683e,
    ZFS: 0x2fc12fc1,
    F2FS: 0xf2f52010,
    bcachefs: 0xca451a4e,
    JFS: 0x3153464a,
    ReiserFS: 0x52654973,
    eCryptfs: 0xf15f,
    UBIFS: 0x24051905,
  }),
]);

/** What a type of `statfs` is, as far as the number tells: FUSE, for one, may be either. */
export function kindOfFileSystem(type: number): FileSystemKind {
  // Some platforms give the number with its sign.
  const unsigned = type >>> 0;
  return KINDS.get(unsigned) ?? { kind: "unknown", type: unsigned };
}

function kinds(
  kind: Exclude<FileSystemKind["kind"], "unknown">,
  types: Readonly<Record<string, number>>,
): [number, FileSystemKind][] {
  return Object.entries(types).map(([name, type]) => [type >>> 0, { kind, name }]);
}
