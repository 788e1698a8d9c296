/**
 * The images that the machine boots from: Debian's, made once and kept, and one with this checkout's Warren, made at each
 * start.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

/** All that the machine keeps, in the checkout's ignored folder. */
export const cache: string = join(root, ".cache/vm");

/** Debian 12. */
const suite = "bookworm";

/** What is installed beside the essential packages. Both firewalls are, and are off. */
const packages = `
  linux-image-cloud-amd64 systemd systemd-sysv systemd-resolved libnss-resolve libpam-systemd
  dbus udev kmod login less procps util-linux apparmor openssh-server
  iproute2 iputils-ping nftables iptables conntrack ufw firewalld curl jq
  containerd runc docker-registry busybox-static libatomic1 ca-certificates
`
  .trim()
  .split(/\s+/);

/** Files of the machine, by path. */
const files: Readonly<Record<string, string>> = {
  "etc/hostname": "machine\n",
  // As Debian's installer writes it: the machine's own name leads to a loopback address.
  "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 machine.example machine\n192.0.2.7 outside.example\n",
  "etc/fstab": "/dev/vda / ext4 defaults 0 0\nLABEL=warren /opt/warren ext4 ro 0 0\n",
  "etc/systemd/network/20-wired.network": "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n",
  "etc/ssh/sshd_config.d/machine.conf": "UsePAM no\nUseDNS no\n",
  // Debian's asks for a login.
  "etc/docker/registry/config.yml": `version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
http:
  addr: :5000
`,
  "usr/local/bin/warren": '#!/bin/sh\nexec /opt/warren/node -- /opt/warren/cli/bin/warren.js "$@"\n',
};

/** What each start of the machine would otherwise do in vain, or is turned on by the test that needs it. */
const disabledUnits = ["ufw", "firewalld", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"];

/** Where the image of this recipe is: one of another recipe is made anew. */
function imageDirectory(): string {
  const recipe = JSON.stringify([suite, packages, files, disabledUnits]);
  return join(cache, `${suite}-${createHash("sha256").update(recipe).digest("hex").slice(0, 16)}`);
}

export interface DebianImage {
  readonly kernel: string;
  readonly initrd: string;
  /** A raw ext4. */
  readonly disk: string;
  /** The private key that logs in as root. */
  readonly sshKey: string;
}

/** Debian's image, made where there is none of this recipe. Older ones go. */
export async function debianImage(log: (text: string) => void): Promise<DebianImage> {
  const directory = imageDirectory();
  if (!existsSync(directory)) {
    log("making Debian's image (minutes, once)");
    await mkdir(cache, { recursive: true });
    for (const name of await readdir(cache))
      if (name.startsWith(`${suite}-`)) await rm(join(cache, name), { recursive: true });
    const made = await mkdtemp(join(cache, `making-${suite}-`));
    try {
      await makeDebianImage(made);
      await rename(made, directory);
    } finally {
      await rm(made, { recursive: true, force: true });
    }
  }
  const [kernel, initrd, disk, sshKey] = ["vmlinuz", "initrd.img", "disk.img", "ssh-key"].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  return { kernel, initrd, disk, sshKey };
}

async function makeDebianImage(directory: string): Promise<void> {
  const tree = join(directory, "tree");
  await run("mmdebstrap", ["--mode=root", "--variant=minbase", `--include=${packages.join(",")}`, suite, tree], {
    maxBuffer: 2 ** 26,
  });
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), text, { mode: path.includes("/bin/") ? 0o755 : 0o644 });
  }
  await mkdir(join(tree, "opt/warren"));
  await rm(join(tree, "etc/resolv.conf"), { force: true });
  await symlink("../run/systemd/resolve/stub-resolv.conf", join(tree, "etc/resolv.conf"));
  await run("chroot", [tree, "systemctl", "enable", "systemd-networkd", "systemd-resolved"]);
  await run("chroot", [tree, "systemctl", "disable", ...disabledUnits]);
  await writeFile(join(tree, "etc/machine-id"), "");
  const sshKey = join(directory, "ssh-key");
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "tools/vm", "-f", sshKey]);
  await mkdir(join(tree, "root/.ssh"), { recursive: true, mode: 0o700 });
  await copyFile(`${sshKey}.pub`, join(tree, "root/.ssh/authorized_keys"));
  await chmod(join(tree, "root/.ssh/authorized_keys"), 0o600);

  const boot = join(tree, "boot");
  for (const name of ["vmlinuz", "initrd.img"]) {
    const found = (await readdir(boot)).find((each) => each.startsWith(`${name}-`));
    if (found === undefined) throw new Error(`${suite} has no ${name} in /boot`);
    await rename(join(boot, found), join(directory, name));
  }
  await makeExt4(join(directory, "disk.img"), tree, "8G");
  await rm(tree, { recursive: true });
}

/** This checkout's Warren as it would be installed, and its Node: `node` and `cli/`. It must be built. */
export async function makeWarrenDisk(disk: string): Promise<void> {
  const tree = `${disk}.tree`;
  await rm(tree, { recursive: true, force: true });
  await mkdir(tree);
  try {
    const deploy = ["--filter", "@warren/cli", "deploy", "--prod", "--legacy", "--offline", join(tree, "cli")];
    await run("pnpm", deploy, { cwd: root, maxBuffer: 2 ** 26 });
    await copyFile(process.execPath, join(tree, "node"));
    await chmod(join(tree, "node"), 0o755);
    await makeExt4(disk, tree, "512M", "warren");
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** A name for this checkout's last build of Warren. */
export async function buildKey(): Promise<string> {
  const stamps = ["toolchain", "modules", "native", "build"].map((part) =>
    textOf(join(root, `.toolchain/${part}.stamp`)),
  );
  return (await Promise.all(stamps)).join("");
}

async function makeExt4(disk: string, tree: string, size: string, label = "root"): Promise<void> {
  await rm(disk, { force: true });
  await run("truncate", ["-s", size, disk]);
  await run("mkfs.ext4", ["-q", "-F", "-L", label, "-d", tree, disk]);
}

/** Removes all images. */
export async function removeImages(): Promise<void> {
  await rm(cache, { recursive: true, force: true });
}

/** What was written to a file so far; empty where there is none. */
export async function textOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
