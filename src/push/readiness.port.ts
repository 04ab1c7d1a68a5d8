/** One reason why a node is not ready, for `/ready` and the log. */
export interface NotReadyReason {
  /** Stable short name, for example `bucket_down`. */
  readonly reason: string;
  readonly detail: string;
}

/** Asked by `/ready`: every room that can make the node unfit for traffic implements it. Empty: ready. */
export interface ReadinessProbe {
  notReady(): readonly NotReadyReason[];
}
