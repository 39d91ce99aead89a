// Types of feedkit-client.js. MIT licence.

/** Something worth telling somebody. */
export interface Notification {
  id: string;
  /** `MILESTONE`, `FRAUD`, `FRAUD_RESOLVED`, or a rule's own. */
  type: string;
  severity: 'info' | 'warning' | 'critical';
  audience: { user: string } | { post: string } | { role: string } | 'all';
  title: string;
  data: Record<string, unknown>;
  /** RFC 3339. */
  occurredAt: string;
}

/** Counts of a post by kind, such as `like` and `comment`. */
export type Counts = Record<string, number>;

export type State =
  | { readonly status: 'idle'; readonly attempt: number }
  | { readonly status: 'connecting'; readonly attempt: number }
  | { readonly status: 'open'; readonly attempt: number; readonly userId: string; readonly expiresAt: string }
  | {
      readonly status: 'waiting';
      readonly attempt: number;
      /** Milliseconds. */
      readonly delay: number;
      /** Milliseconds since 1970. */
      readonly retryAt: number;
      readonly reason: string;
      readonly code?: number;
    }
  | { readonly status: 'closed'; readonly reason: string; readonly code?: number };

export interface CursorStore {
  load(): string | null | undefined | Promise<string | null | undefined>;
  save(cursor: string): void | Promise<void>;
}

export interface TokenRequest {
  /** Why a token is asked for: to connect, since one was refused, or since one is about to expire. */
  reason: 'connect' | 'refused' | 'expiring';
  /** The token that was refused. Returning it again ends the client. */
  refused: string | null;
}

export interface Options {
  /** `ws:`, `wss:`, `http:` or `https:`, or relative to the page. Default: `ws`. */
  url?: string | URL;
  /** A token that is never renewed. Either this or `getToken`. */
  token?: string;
  /** Gives a token. Nothing, or the one that was refused: the client closes. Throwing: it tries again later. */
  getToken?(request: TokenRequest): string | null | undefined | Promise<string | null | undefined>;
  /** `me`, `post:ID`, `role:NAME`, `top`. Default: `me`. */
  channels?: Iterable<string>;
  /** Called once for each notification, in the order of arrival. The cursor moves on when it returns. */
  onNotification?(notification: Notification, where: { channel: string; cursor: string }): void;
  /** Called with the newest counts of a post; those in between are left out. */
  onCounts?(postId: string, counts: Counts): void;
  /** The gateway cannot tell what was missed while the connection was away. */
  onMissed?(): void;
  onState?(state: State): void;
  /** Errors that the gateway reports (with `code`), and those thrown by what was given here. */
  onError?(error: Error & { code?: string }): void;
  /** Default: the cursor is kept in memory only. */
  cursorStore?: CursorStore;

  /** How long a connection may take until it is ready, in milliseconds. Default: 15,000. */
  connectTimeout?: number;
  /** The silence after which the gateway is asked for a sign of life. Default: 25,000. */
  pingEvery?: number;
  /** How long that may take. Default: 10,000. */
  pingTimeout?: number;
  /** How long before its end a token is renewed, at most half of its life. Default: 60,000. */
  refreshBefore?: number;
  /** The first attempt comes within so many milliseconds, the next within twice as many, … Default: 1,000. */
  backoffBase?: number;
  /** … up to this. Default: 30,000. */
  backoffCap?: number;
  /** Within how long clients come back to a gateway that restarts. Default: 2,000. */
  restartSpread?: number;
  /** The longest wait after "too many"; half of it is the shortest. Default: 60,000. */
  tooManyWait?: number;
  /** How long a connection has to stand until the next loss counts as the first. Default: 5,000. */
  stableAfter?: number;
  /** Ids of notifications that are remembered, to leave out repeats. Default: 1,000. */
  remember?: number;

  // For tests.
  WebSocket?: new (url: string, protocols: string[]) => WebSocket;
  setTimeout?(run: () => void, wait: number): unknown;
  clearTimeout?(timer: unknown): void;
  random?(): number;
  now?(): number;
}

export class FeedkitClient {
  constructor(options: Options);
  readonly state: State;
  readonly channels: string[];
  readonly cursor: string | null;
  connect(): this;
  retryNow(): void;
  reconnect(): void;
  close(): void;
  subscribe(...channels: (string | string[])[]): void;
  unsubscribe(...channels: (string | string[])[]): void;
}

export const CloseCode: Readonly<{
  GOING_AWAY: 1001;
  RESTARTING: 1012;
  UNAUTHENTICATED: 4001;
  TOKEN_EXPIRED: 4002;
  FORBIDDEN: 4003;
  POLICY: 4008;
  TOO_SLOW: 4009;
  TOO_MANY: 4029;
}>;

export function storageCursorStore(storage: Storage, key: string): CursorStore;
