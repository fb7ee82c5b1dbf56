BEGIN TRANSACTION;
CREATE TABLE events (
	run_id VARCHAR NOT NULL, 
	ordinal INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	event_json TEXT NOT NULL, 
	PRIMARY KEY (run_id, ordinal, position), 
	FOREIGN KEY(run_id, ordinal) REFERENCES jobs (run_id, ordinal) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('20261121-120000-quick',1,0,'hello','{"v":1,"seq":0,"t":0.0,"kind":"hello","python":"3.11.9","framework":"pytorch","version":"2.13.0","import_seconds":1.5,"describe":{"mkldnn":true}}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,1,'built','{"v":1,"seq":1,"t":1.0,"kind":"built","weights":272000,"multiply_adds":40000000,"build_seconds":0.2,"data_seconds":0.01}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,2,'training','{"v":1,"seq":2,"t":2.0,"kind":"training"}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,3,'epoch','{"v":1,"seq":4,"t":4.0,"kind":"epoch","epoch":0,"step_seconds":[0.1,0.1,0.1],"input_seconds":[0.001,0.001,0.001],"loss":[3.0,3.0,3.0],"epoch_seconds":0.30300000000000005,"warmup_steps":1}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,4,'score','{"v":1,"seq":5,"t":5.0,"kind":"score","split":"valid","epoch":0,"accuracy":0.8,"loss":0.5,"pictures":822,"evaluate_seconds":1.5}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,5,'epoch','{"v":1,"seq":7,"t":7.0,"kind":"epoch","epoch":1,"step_seconds":[0.1,0.1,0.1],"input_seconds":[0.001,0.001,0.001],"loss":[3.0,3.0,3.0],"epoch_seconds":0.30300000000000005,"warmup_steps":0}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,6,'score','{"v":1,"seq":8,"t":8.0,"kind":"score","split":"valid","epoch":1,"accuracy":0.9,"loss":0.5,"pictures":822,"evaluate_seconds":1.5}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,7,'score','{"v":1,"seq":9,"t":9.0,"kind":"score","split":"test","epoch":1,"accuracy":0.89,"loss":0.5,"pictures":822,"evaluate_seconds":1.5}');
INSERT INTO "events" VALUES('20261121-120000-quick',1,8,'done','{"v":1,"seq":10,"t":10.0,"kind":"done","weights_sha256":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff","total_seconds":60.0}');
INSERT INTO "events" VALUES('20261121-120000-quick',90,0,'hello','{"v":1,"seq":0,"t":0.0,"kind":"hello","python":"3.11.9","framework":"pytorch","version":"2.13.0","import_seconds":1.5,"describe":{}}');
INSERT INTO "events" VALUES('20261121-120000-quick',90,1,'check','{"v":1,"seq":1,"t":1.0,"kind":"check","figures":{"logits":2.1e-6,"loss_step_1":3e-8,"loss_step_20":0.00012,"study_loss_step_5":0.00024},"bounds":{"logits":0.0001,"loss_step_1":0.00001,"loss_step_20":0.001,"study_loss_step_5":0.001},"passed":true}');
INSERT INTO "events" VALUES('20261121-120000-quick',90,2,'done','{"v":1,"seq":2,"t":2.0,"kind":"done","weights_sha256":null,"total_seconds":9.0}');
CREATE TABLE jobs (
	run_id VARCHAR NOT NULL, 
	ordinal INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	"key" VARCHAR, 
	framework VARCHAR NOT NULL, 
	variant VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	depth INTEGER, 
	input_size INTEGER NOT NULL, 
	device VARCHAR NOT NULL, 
	seed BIGINT, 
	repeat INTEGER, 
	environment_identity VARCHAR NOT NULL, 
	worker_sha256 VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	fault VARCHAR NOT NULL, 
	passed BOOLEAN, 
	record_json TEXT NOT NULL, 
	exit_json TEXT, 
	outcome_json TEXT NOT NULL, 
	PRIMARY KEY (run_id, ordinal), 
	CONSTRAINT jobs_kind CHECK (kind IN ('trial', 'check')), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "jobs" VALUES('20261121-120000-quick',1,'trial','id-1','9ce0b7e8c4015218a7518e37f9a69eff3814ceae29d4042e0c8aee72e3cae2dc','pytorch','2.13','resnet',20,32,'cpu',0,0,'sha256:pytorch-2.13','wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww','ok','none',NULL,'{"run_id":"20261121-120000-quick","ordinal":1,"id":"id-1","worker_sha256":"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww","environment":{"engine":"docker","framework":"pytorch","variant":"2.13","device":"cpu","identity":"sha256:pytorch-2.13","location":"waymark/pytorch:2.13-cpu","python":"3.11.9","freeze":["numpy==2.4.6","pytorch==2.13"],"env":{"OMP_NUM_THREADS":"2"},"options":{}},"trial":{"framework":"pytorch","variant":"2.13","model":{"name":"resnet","depth":20},"input_size":32,"device":"cpu","seed":0,"repeat":0,"dataset":{"name":"gtsrb","split":"paper","split_seed":0,"validation_fraction":0.2,"clahe":true,"synthetic":null},"training":{"optimiser":"sgd","initialiser":"he_normal","learning_rate":0.01,"momentum":0.9,"batch_size":64,"epochs":2},"measure":{"sync":"step","feed":"host","warmup_steps":20,"warmup_seconds":3.0,"evaluate":"epoch"},"threads":2},"data":{"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","recognised":"official","train_pictures":31367,"valid_pictures":7842,"test_pictures":12630,"split_note":"frames of one sign are in both training and validation pictures"},"check":null,"is_unverified":false}','{"code":0,"signal":null,"is_timeout":false,"is_out_of_memory":false,"is_cancelled":false,"log_tail":"","launched_unix":1700000000.0,"wall_seconds":62.0,"started_seconds":0.4}','{"status":"ok","fault":"none","reason":""}');
INSERT INTO "jobs" VALUES('20261121-120000-quick',2,'trial','id-2','9ce0b7e8c4015218a7518e37f9a69eff3814ceae29d4042e0c8aee72e3cae2dc','pytorch','2.13','resnet',20,32,'cpu',0,0,'sha256:pytorch-2.13','wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww','crashed','unknown',NULL,'{"run_id":"20261121-120000-quick","ordinal":2,"id":"id-2","worker_sha256":"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww","environment":{"engine":"docker","framework":"pytorch","variant":"2.13","device":"cpu","identity":"sha256:pytorch-2.13","location":"waymark/pytorch:2.13-cpu","python":"3.11.9","freeze":["numpy==2.4.6","pytorch==2.13"],"env":{"OMP_NUM_THREADS":"2"},"options":{}},"trial":{"framework":"pytorch","variant":"2.13","model":{"name":"resnet","depth":20},"input_size":32,"device":"cpu","seed":0,"repeat":0,"dataset":{"name":"gtsrb","split":"paper","split_seed":0,"validation_fraction":0.2,"clahe":true,"synthetic":null},"training":{"optimiser":"sgd","initialiser":"he_normal","learning_rate":0.01,"momentum":0.9,"batch_size":64,"epochs":2},"measure":{"sync":"step","feed":"host","warmup_steps":20,"warmup_seconds":3.0,"evaluate":"epoch"},"threads":2},"data":{"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","recognised":"official","train_pictures":31367,"valid_pictures":7842,"test_pictures":12630,"split_note":"frames of one sign are in both training and validation pictures"},"check":null,"is_unverified":false}',NULL,'{"status":"crashed","fault":"unknown","reason":"ended with exit code 1 after ''built''"}');
INSERT INTO "jobs" VALUES('20261121-120000-quick',90,'check','check-90',NULL,'pytorch','2.13','resnet',20,32,'cpu',NULL,NULL,'sha256:pytorch-2.13','wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww','ok','none',1,'{"run_id":"20261121-120000-quick","ordinal":90,"id":"check-90","worker_sha256":"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww","environment":{"engine":"docker","framework":"pytorch","variant":"2.13","device":"cpu","identity":"sha256:pytorch-2.13","location":"waymark/pytorch:2.13-cpu","python":"3.11.9","freeze":["numpy==2.4.6","pytorch==2.13"],"env":{"OMP_NUM_THREADS":"2"},"options":{}},"trial":null,"data":null,"check":{"framework":"pytorch","variant":"2.13","model":{"name":"resnet","depth":20},"input_size":32,"device":"cpu","threads":2},"is_unverified":false}','{"code":0,"signal":null,"is_timeout":false,"is_out_of_memory":false,"is_cancelled":false,"log_tail":"","launched_unix":1700000000.0,"wall_seconds":62.0,"started_seconds":0.4}','{"status":"ok","fault":"none","reason":""}');
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	started_unix FLOAT NOT NULL, 
	run_json TEXT NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('20261121-120000-quick',1795262400.0,'{"run_id":"20261121-120000-quick","started_unix":1795262400.0,"waymark_version":"0.1.0","argv":["sweep","--device=cpu"],"engine":"docker","spec":{"name":"quick","training":{"epochs":2}},"host":{"cpu_model":"AMD EPYC","physical_cores":2,"cpu_flags":["avx2","fma"],"memory_bytes":17179869184},"skips":[]}');
CREATE TABLE waymark_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT waymark_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "waymark_schema" VALUES('0001');
CREATE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_environment ON jobs (environment_identity, worker_sha256);
COMMIT;
