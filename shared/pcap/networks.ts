export type NetworkCount = { vni: number; packets: number };

/** Networks told apart; those that first come later are one to the flows, and are not listed. */
const MAX_NETWORKS = 10_000;
/** Values of a VNI (RFC 7348, section 5). */
const VNIS = 2 ** 24;

/**
 * Numbers the VXLAN networks that packets lie in, and counts the packets of each. A network inside of another one is not that of
 * the same VNI elsewhere. 0 stands for outside of any network, 1 for those without a number of their own.
 */
export class Networks {
  readonly #numbers = new Map<number, number>();
  /** By number; VNIs from the outermost to the innermost. A packet is counted where it lies innermost. */
  readonly #networks: { vnis: readonly number[]; packets: number }[] = [
    { vnis: [], packets: 0 },
    { vnis: [], packets: 0 },
  ];

  /** Takes a packet from the network `outer` into the one of a VNI inside of it, and answers that one's number. */
  enter(outer: number, vni: number): number {
    const key = outer * VNIS + vni;
    const number = this.#numbers.get(key) ?? this.#add(key, outer, vni);
    // Without a number of its own, it counts as far as it can be followed.
    if (number > 1) {
      this.#networks[outer]!.packets -= 1;
      this.#networks[number]!.packets += 1;
    }
    return number;
  }

  /** The VNIs with the most packets, the largest first. A packet in several networks counts once for each of their VNIs. */
  top(limit: number): NetworkCount[] {
    const counts = new Map<number, number>();
    for (const { vnis, packets } of this.#networks) {
      for (const vni of new Set(vnis)) counts.set(vni, (counts.get(vni) ?? 0) + packets);
    }
    return [...counts]
      .map(([vni, packets]) => ({ vni, packets }))
      .sort((a, b) => b.packets - a.packets || a.vni - b.vni)
      .slice(0, limit);
  }

  #add(key: number, outer: number, vni: number): number {
    if (this.#numbers.size === MAX_NETWORKS) return 1;
    const number = this.#networks.push({ vnis: [...this.#networks[outer]!.vnis, vni], packets: 0 }) - 1;
    this.#numbers.set(key, number);
    return number;
  }
}
