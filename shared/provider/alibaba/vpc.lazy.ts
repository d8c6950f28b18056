// The VPC SDK, in a part of its own that is loaded on first use. Re-exports only: no state of ours lives here.
export { default as core } from '@alicloud/openapi-core';
export { default as vpc } from '@alicloud/vpc20160428';
export { RuntimeOptions } from '@darabonba/typescript';
